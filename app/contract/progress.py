"""How far an analysis has come."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(max_length=256)]
Count = Annotated[int, Field(ge=0)]
Scalar = str | int | float | bool | None


class Progress(BaseModel):
    """How far an analysis has come; a method may tell more than is named here."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Scalar] = Field(init=False)

    method: Name | None = Field(default=None, description="The method that is running.")
    phase: Name | None = Field(default=None, description="What it is doing.")
    done: Count | None = Field(default=None, description="Steps that are done ...")
    total: Count | None = Field(default=None, description="... of so many.")
    upper: float | None = Field(default=None, description="The least upper bound so far.")
    lower: float | None = Field(default=None, description="The largest lower bound so far.")
