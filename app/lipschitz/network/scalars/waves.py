"""Sine, cosine and tangent."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..arithmetic import Interval, choose
from ..ends import MARGIN, Ends, nan_unbounded
from ..scalar import EVERYTHING, LINE, Scalar, Slope, Window
from .library import monotone, trusted

LARGEST = 2.0**30
"""Arguments up to here are told from their place in a turn."""


@dataclass(frozen=True, eq=False)
class Wave(Scalar):
    """Sine and cosine: -1 and 1 where an interval holds a trough or a crest, else what they are at its ends.

    Crests lie at `crest` turns of 2 pi, those of the derivative a quarter of a turn before.
    """

    crest: float = 0.0

    def slope(self) -> Slope:
        """[-1, 1]."""
        return Slope(-1.0, 1.0)

    def slopes(self, lower: Tensor, upper: Tensor, window: Window = LINE) -> Ends:  # noqa: ARG002
        """Of the derivative, which is ahead by a quarter of a turn."""
        return _wave(self.crest - 0.25, *nan_unbounded(lower, upper))

    def range(self, lower: Tensor, upper: Tensor) -> Ends:
        """Of the function itself."""
        return _wave(self.crest, *nan_unbounded(lower, upper))


def _wave(crest: float, lower: Tensor, upper: Tensor) -> Ends:
    """Enclosure of cos(x - 2 pi crest), `crest` a number of quarters."""
    far = (lower.abs() > LARGEST) | (upper.abs() > LARGEST)
    ends = torch.where(far, 0.0, torch.stack([lower, upper]))
    turns = ends / (2.0 * math.pi) - crest
    slack = MARGIN * (1.0 + turns.abs().amax(0))
    values = QUARTERS[round(4.0 * crest) % 4](ends)
    low, high = trusted(values.amin(0), values.amax(0)).within(-1.0, 1.0).ends
    high = torch.where(far | _holds_whole(turns, slack), 1.0, high)
    low = torch.where(far | _holds_whole(turns - 0.5, slack), -1.0, low)
    return low, high


def _holds_whole(turns: Tensor, slack: Tensor) -> Tensor:
    """Whether a whole number may lie between two numbers of turns."""
    return torch.floor(turns[1] + slack) >= torch.ceil(turns[0] - slack)


QUARTERS: tuple[Callable[[Tensor], Tensor], ...] = (
    torch.cos, torch.sin, lambda x: -torch.cos(x), lambda x: -torch.sin(x),
)  # fmt: skip
"""cos(x - 2 pi q / 4) for q = 0, 1, 2, 3."""


@dataclass(frozen=True, eq=False)
class Tangent(Scalar):
    """tan x, rising from pole to pole; its slope 1 + tan^2 is largest at the ends of an interval between two."""

    def slope(self) -> Slope:
        """Unbounded, either way across a pole."""
        return Slope(-math.inf, math.inf)

    def slopes(self, lower: Tensor, upper: Tensor, window: Window = LINE) -> Ends:  # noqa: ARG002
        """1 + tan^2 over the values; unbounded across a pole."""
        values = Interval(*self.range(lower, upper))
        return choose(torch.isfinite(values.lower), values.square() + 1.0, EVERYTHING).ends

    def range(self, lower: Tensor, upper: Tensor) -> Ends:
        """The values at the ends; unbounded across a pole, or where float64 cannot tell."""
        lower, upper = nan_unbounded(lower, upper)
        turns = torch.stack([lower, upper]) / math.pi + 0.5
        branch = torch.floor(turns)
        to_pole = torch.minimum(turns - branch, branch + 1 - turns).amin(0)
        clear = (to_pole > MARGIN * (1 + turns.abs().amax(0))) & (branch[0] == branch[1])
        values = choose(clear, Interval(*monotone("tan", Interval(lower, upper)).ends), EVERYTHING)
        return values.ends
