"""Elementwise functions: their values, their difference quotients on an interval, their range on an interval.

Between two neighbouring knots the derivative is monotone, so on any interval it is enclosed by its values at the
ends and at the knots inside. At a knot the derivative is extreme, or jumps between two values.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from app.lipschitz.network.ends import MARGIN, widened

Entries = float | Tensor
"""One number for all entries, or a flat vector with one each."""


@dataclass(frozen=True, eq=False)
class Slope:
    """Certified range of a function's difference quotients, rounded outwards."""

    lower: float
    upper: float

    @property
    def magnitude(self) -> float:
        """The Lipschitz constant, max(|lower|, |upper|); infinite where there is none."""
        return max(abs(self.lower), abs(self.upper))


@dataclass(frozen=True, eq=False)
class Knot:
    """A point where the derivative is extreme or jumps; `lower`, `upper` enclose it there, rounded outwards."""

    at: Entries
    lower: Entries
    upper: Entries


@dataclass(frozen=True, eq=False)
class Scalar:
    """A function on flat batches `(B, n)`, entry by entry.

    `knots` as above; `limits` are the derivative's limits at minus and plus infinity; `turns` are the points
    where the function stops falling or rising. `rounding` is the absolute error of values and derivatives where torch
    loses it to cancellation. NaN, where the function is not defined, counts as unbounded.
    """

    function: Callable[[Tensor], Tensor]
    knots: tuple[Knot, ...] = ()
    limits: tuple[Entries, Entries] = (0.0, 0.0)
    turns: tuple[float, ...] = ()
    rounding: float = 0.0

    def slope(self) -> Slope:
        """The range over all reals and all entries."""
        ends = [*self.limits, *(end for knot in self.knots for end in (knot.lower, knot.upper))]
        return Slope(min(_least(end) for end in ends), max(-_least(-end) for end in ends))

    def slopes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Entrywise ranges over `lower <= x <= upper`, flat vectors `(n,)`; never wider than `slope`."""
        ends = self._derivative(torch.stack([lower, upper]))
        least, most = ends.amin(0), ends.amax(0)
        least, most = least - MARGIN * least.abs() - self.rounding, most + MARGIN * most.abs() + self.rounding
        for knot in self.knots:
            inside = (lower <= knot.at) & (knot.at <= upper)
            least = torch.where(inside, torch.minimum(least, _like(knot.lower, least)), least)
            most = torch.where(inside, torch.maximum(most, _like(knot.upper, most)), most)
        whole = self.slope()
        least, most = widened(least, most, 0.0)
        return least.clamp(min=whole.lower), most.clamp(max=whole.upper)

    def range(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Entrywise enclosure of the values over `lower <= x <= upper`."""
        values = self.function(torch.stack([lower, upper, *(self._inside(turn, lower, upper) for turn in self.turns)]))
        least, most = values.amin(0), values.amax(0)
        size = torch.maximum(least.abs(), most.abs())
        finite = torch.where(torch.isfinite(size), size, torch.minimum(least.abs(), most.abs()))
        return widened(least, most, MARGIN * finite + self.rounding)

    @staticmethod
    def _inside(turn: float, lower: Tensor, upper: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(torch.full_like(lower, turn), lower), upper)

    def _derivative(self, x: Tensor) -> Tensor:
        """The derivative, `(B, n)`, off the knots; its limits at infinity."""
        with torch.enable_grad():
            at = x.detach().clone().requires_grad_(True)
            (found,) = torch.autograd.grad(self.function(at).sum(), at, materialize_grads=True)
        found = torch.where(x == -math.inf, _like(self.limits[0], x[0]), found)
        return torch.where(x == math.inf, _like(self.limits[1], x[0]), found)


def _least(entries: Entries) -> float:
    return float(entries.min()) if isinstance(entries, Tensor) else entries


def _like(entries: Entries, reference: Tensor) -> Tensor:
    return torch.as_tensor(entries, dtype=reference.dtype, device=reference.device).expand(reference.shape)
