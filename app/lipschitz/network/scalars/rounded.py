"""x + d with an unknown d between two numbers: what a rounding step does where it counts as noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...operators.rounding import up_add
from ..arithmetic import Interval
from ..ends import Ends
from ..scalar import LINE, Scalar, Slope, Window


@dataclass(frozen=True, eq=False)
class Rounded(Scalar):
    """For every d that is held fixed a line of slope 1; `function` is that of d = 0, the ranges are those of all d.

    `limits` are the ends of an integer type, beyond which a cast to it does not round but wraps around.
    """

    least: float
    most: float
    limits: tuple[float, float] | None = None

    @property
    def width(self) -> float:
        """How far two values of d are apart at most, rounded up."""
        return up_add(self.most, -self.least)

    def slope(self) -> Slope:
        return Slope(1.0, 1.0)

    def slopes(self, lower: Tensor, upper: Tensor, window: Window = LINE) -> Ends:  # noqa: ARG002 - a line's
        """1 everywhere."""
        return torch.ones_like(lower), torch.ones_like(upper)

    def range(self, lower: Tensor, upper: Tensor) -> Ends:
        """The interval, and the noise around it."""
        return (Interval(lower, upper) + Interval.of(self.least, self.most)).ends
