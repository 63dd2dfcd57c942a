"""Sine, cosine and tangent."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from app.lipschitz.network.arithmetic import Interval, choose
from app.lipschitz.network.ends import MARGIN, Ends, nan_unbounded
from app.lipschitz.network.scalar import EVERYTHING, LINE, Scalar, Slope, Window
from app.lipschitz.network.scalars.library import monotone


@dataclass(frozen=True, eq=False)
class Wave(Scalar):
    """Sine and cosine: too many turns to list, every interval counts as a whole period."""

    def slope(self) -> Slope:
        """[-1, 1]."""
        return Slope(-1.0, 1.0)

    def slopes(self, lower: Tensor, upper: Tensor, window: Window = LINE) -> Ends:  # noqa: ARG002
        """[-1, 1]."""
        return torch.full_like(lower, -1.0), torch.full_like(upper, 1.0)

    def range(self, lower: Tensor, upper: Tensor) -> Ends:
        """[-1, 1]."""
        return self.slopes(lower, upper)


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
        found = choose(clear, Interval(*monotone("tan", Interval(lower, upper)).ends), EVERYTHING)
        return found.ends
