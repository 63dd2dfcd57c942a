"""Problem documents (RFC 9457): every error of the service, and the `error` of a job that failed."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Fault(BaseModel):
    """One field at fault."""

    detail: str = Field(description="What is wrong with it.")
    pointer: str = Field(description="JSON pointer into the request.")


class ProblemView(BaseModel):
    """RFC 9457 problem document."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(default="about:blank", description="Stable URI of the kind of problem.")
    title: str = Field(default="", description="The kind of problem in a few words.")
    status: int | None = Field(default=None, description="The HTTP status of such an answer.")
    detail: str = Field(default="", description="This occurrence, in a sentence.")
    advice: str | None = Field(default=None, description="What to do next.")
    instance: str | None = Field(default=None, description="Path of the request or job that met it.")
    errors: list[Fault] | None = Field(default=None, description="The fields at fault, if any are.")
