"""What rounding adds to a bracket, where a request counts it as noise."""

from __future__ import annotations

from pydantic import Field

from .methods import Guarantee
from .part import Part


class RoundingStep(Part):
    """A layer that rounds, counted as noise."""

    name: str = Field(description="Its place in the file.")
    op: str = Field(description="Its operator in the file.")
    step: float = Field(description="How far two roundings of one number may be apart: the width of the noise.")
    entries: int = Field(description="Numbers that it rounds.")


class OffsetView(Part):
    """The e of ||f(x) - f(y)|| <= L ||x - y|| + e, where rounding counts as noise."""

    value: float | None = Field(description="e, in the output's norm; null where it is beyond float64.")
    guarantee: Guarantee = Field(description="certified.")
    steps: list[RoundingStep] = Field(description="What it comes from.")
