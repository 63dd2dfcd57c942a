"""Where a constant is asked, and of which outputs."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator
from typing_extensions import TypeAliasType

Document = dict[str, JsonValue]
"""JSON whose members are not for us to name."""
DIGEST = "[0-9a-f]{64}"
Numbers = TypeAliasType("Numbers", "float | list[Numbers]")
"""A number, or an array of numbers as nested lists."""
Digest = Annotated[str, Field(pattern=f"^{DIGEST}$")]
RowName = Annotated[str, Field(pattern=f"^(dataset|{DIGEST})#(0|[1-9][0-9]{{0,11}})$")]


class Strict(BaseModel):
    """Unknown fields, NaN and Infinity are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class All(Strict):
    """The whole space, or every output."""

    kind: Literal["all"] = Field(default="all", description="Everything.")


ALL = All(kind="all")


class Box(Strict):
    """Every coordinate between its limits: numbers, or arrays of the input's shape."""

    kind: Literal["box"] = Field(description="A box.")
    lower: Numbers = Field(description="The least values: one number for all coordinates, or an array.")
    upper: Numbers = Field(description="The largest values: one number for all coordinates, or an array.")


class Ball(Strict):
    """All points within a radius of a centre, in the request's norm."""

    kind: Literal["ball"] = Field(description="A ball.")
    center: Numbers | RowName = Field(
        description="Numbers (one for all coordinates, or an array), or a row of a data set: its id or the word "
        "`dataset`, `#`, and the row's number from 0."
    )
    radius: float = Field(gt=0, description="Its radius, in the request's norm.")


NormName = Literal["1", "2", "inf"]


class TwoNorms(Strict):
    """One norm for each space."""

    input: NormName = Field(description="Of the input space, and of a ball's radius.")
    output: NormName = Field(description="Of the output space.")


def norm_words(norm: object) -> str:
    """`2-norm`, or `inf- to 2-norm` where each space has its own."""
    if isinstance(norm, dict):
        return f"{norm.get('input')}- to {norm.get('output')}-norm"
    return f"{norm}-norm"


class Logit(Strict):
    """One output coordinate."""

    kind: Literal["logit"] = Field(description="One output.")
    index: int = Field(ge=0, description="Its place in the flat output, from 0.")


class Margin(Strict):
    """The difference of two output coordinates."""

    kind: Literal["margin"] = Field(description="f_i - f_j.")
    i: int = Field(ge=0, description="Place of the first in the flat output, from 0.")
    j: int = Field(ge=0, description="Place of the one that is subtracted.")

    @model_validator(mode="after")
    def _of_two(self) -> Self:
        if self.i == self.j:
            raise ValueError("a margin needs two different outputs")
        return self


class Margins(Strict):
    """Every difference of two output coordinates, for 2 to 100 of them; the upper bound is the largest of theirs."""

    kind: Literal["margins"] = Field(description="All f_i - f_j.")


Domain = Annotated[All | Box | Ball, Field(discriminator="kind")]
Target = Annotated[All | Logit | Margin | Margins, Field(discriminator="kind")]
