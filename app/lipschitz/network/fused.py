"""The `Scalar` of an expression: slopes by branch and bound in interval arithmetic, tails included.

Kinks cut the line into pieces; f is continuous, so its difference quotients lie in the hull of its derivatives
on the pieces. On [-T, T] cells are halved while they could raise the bound by more than `TOLERANCE`; beyond, the
two tails are enclosed as a whole (`tails`), T growing until they no longer matter.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

import torch
from torch import Tensor

from .arithmetic import Interval, choose
from .branching import continuous, kinks
from .ends import Ends, nan_unbounded
from .expression import Step, Variable
from .jets import Jet
from .scalar import LINE, Scalar, Slope, Window
from .tails import Tail

TOLERANCE = 1e-8
"""Relative excess over an attained slope that ends the search."""
REACHES = (2.0**5, 2.0**10, 2.0**20)
CELLS = 256
MOST_CELLS = 6_000
HALVINGS = 45
SUBDIVISIONS = 16
"""Parts into which a queried interval is cut."""

Piece = tuple[Fraction | None, Fraction | None]
"""Open interval between neighbouring kinks; None for infinity."""


@dataclass(frozen=True, eq=False)
class Fused(Scalar):
    """A function given by an expression; `whole` is its certified slope over all reals."""

    expression: Step = field(default_factory=Variable)
    whole: Slope = field(default_factory=lambda: Slope(-math.inf, math.inf))

    def slope(self) -> Slope:
        """Found when the region was recognised."""
        return self.whole

    def slopes(self, lower: Tensor, upper: Tensor, window: Window = LINE) -> Ends:  # noqa: ARG002 - nobody has one
        """Entrywise ranges, from a few cells an entry."""
        return self._enclose(lower, upper, lambda jet: jet.slope).within(self.whole.lower, self.whole.upper).ends

    def range(self, lower: Tensor, upper: Tensor) -> Ends:
        """Entrywise enclosure of the values, from a few cells an entry."""
        return self._enclose(lower, upper, lambda jet: jet.value).ends

    def _enclose(self, lower: Tensor, upper: Tensor, part: Callable[[Jet], Interval]) -> Interval:
        """The hull over all pieces that meet the interval; empty nowhere, since the pieces cover the line."""
        lower, upper = nan_unbounded(lower, upper)
        total = Interval(torch.full_like(lower, math.inf), torch.full_like(upper, -math.inf))
        for piece in pieces(self.expression):
            ends = _float_ends(piece)
            low, high = lower.clamp(*ends), upper.clamp(*ends)
            meets = (lower <= ends[1]) & (upper >= ends[0])
            for cell in _parts(low, high):
                enclosure = part(self.expression.jet(_variable(cell), inside(piece)))
                total = choose(meets, total.hull(enclosure), total)
        return total


def _parts(low: Tensor, high: Tensor) -> list[Interval]:
    """Finite intervals in equal parts; an infinite one stays whole."""
    whole = ~(torch.isfinite(low) & torch.isfinite(high))
    step = torch.where(whole, 0.0, high / SUBDIVISIONS - low / SUBDIVISIONS)
    cuts = [low, *(low + k * step for k in range(1, SUBDIVISIONS)), high]
    return [Interval(a, torch.where(whole, high, b)) for a, b in itertools.pairwise(cuts)]


def _variable(cell: Interval) -> Jet:
    return Jet(cell, Interval.of(1.0, 1.0))


@lru_cache(maxsize=256)
def slope_of(expression: Step) -> Slope | None:
    """The certified range of the derivative over all reals; None where no finite one is found."""
    if not continuous(expression):
        return None
    farthest = max((abs(kink) for kink in kinks(expression)), default=Fraction(0))
    if farthest > REACHES[-1] / 2:
        return None
    tails = [(reach, _tails(expression, reach)) for reach in REACHES if reach > 2 * farthest]
    if not math.isfinite(tails[-1][1].magnitude):
        return None
    slope: Interval | None = None
    for reach, outer in tails:
        slope = _central(expression, reach)
        if not math.isfinite(slope.magnitude) or _covers(slope, outer):
            break
    total = outer if slope is None else slope.hull(outer)
    return Slope(float(total.lower), float(total.upper)) if math.isfinite(total.magnitude) else None


def _covers(inner: Interval, outer: Interval) -> bool:
    allowance = TOLERANCE * inner.magnitude
    return bool(outer.lower >= inner.lower - allowance) and bool(outer.upper <= inner.upper + allowance)


def _tails(expression: Step, reach: float) -> Interval:
    lines = pieces(expression)
    left = expression.jet(Tail.variable(reach, -1), inside(lines[0])).slope
    right = expression.jet(Tail.variable(reach, 1), inside(lines[-1])).slope
    return left.hull(right)


def _central(expression: Step, reach: float) -> Interval:
    """The hull of the derivative over [-reach, reach], off the kinks."""
    grids = [(_grid(piece, reach), inside(piece)) for piece in pieces(expression)]
    samples = [_slope(expression, _middles(cells), at).magnitude for cells, at in grids]
    scale = max((size for size in samples if math.isfinite(size)), default=math.inf)
    ranges = [_search(expression, cells, at, TOLERANCE * scale) for cells, at in grids]
    return Interval.of(min(float(part.lower) for part in ranges), max(float(part.upper) for part in ranges))


def _grid(piece: Piece, reach: float) -> Interval:
    low, high = (max(-reach, min(reach, end)) for end in _float_ends(piece))
    edges = torch.linspace(low, high, CELLS + 1, dtype=torch.float64)
    edges[0], edges[-1] = low, high
    return Interval(edges[:-1], edges[1:])


def _middles(cells: Interval) -> Interval:
    middle = (cells.lower + cells.upper) / 2
    return Interval(middle, middle)


def _slope(expression: Step, cells: Interval, at: Fraction) -> Interval:
    slope = expression.jet(_variable(cells), at).slope
    return Interval(slope.lower.expand_as(cells.lower), slope.upper.expand_as(cells.upper))


def _search(expression: Step, cells: Interval, at: Fraction, allowance: float) -> Interval:
    """The hull of the derivative over the cells; the worst are halved, the others keep their bound."""
    least, most = math.inf, -math.inf  # slopes that are surely attained
    settled = [math.inf, -math.inf]
    for _ in range(HALVINGS):
        sample, bound = _slope(expression, _middles(cells), at), _slope(expression, cells, at)
        least, most = min(least, float(sample.upper.min())), max(most, float(sample.lower.max()))
        excess = torch.maximum(least - bound.lower, bound.upper - most)
        worst = excess.topk(min(MOST_CELLS, len(excess))).indices
        halved = torch.zeros_like(excess, dtype=torch.bool).index_fill(0, worst, True) & (excess > allowance)
        settled = _extended(settled, Interval(bound.lower[~halved], bound.upper[~halved]))
        if not bool(halved.any()):
            return Interval.of(*settled)
        first, last, half = cells.lower[halved], cells.upper[halved], _middles(cells).lower[halved]
        cells = Interval(torch.cat([first, half]), torch.cat([half, last]))
    return Interval.of(*_extended(settled, _slope(expression, cells, at)))


def _extended(ends: list[float], by: Interval) -> list[float]:
    if not by.lower.numel():
        return ends
    return [min(ends[0], float(by.lower.min())), max(ends[1], float(by.upper.max()))]


def pieces(expression: Step) -> list[Piece]:
    """The line cut at the kinks, left to right."""
    cuts: list[Fraction | None] = [None, *sorted(kinks(expression)), None]
    return list(itertools.pairwise(cuts))


def inside(piece: Piece) -> Fraction:
    """A rational number within an open piece."""
    low, high = piece
    if low is not None and high is not None:
        return (low + high) / 2
    if low is not None:
        return low + 1
    return Fraction(0) if high is None else high - 1


def _float_ends(piece: Piece) -> tuple[float, float]:
    """The piece's closure in doubles, rounded outwards."""
    low, high = piece
    return -math.inf if low is None else _rounded(low, -math.inf), math.inf if high is None else _rounded(
        high, math.inf
    )


def _rounded(exact: Fraction, towards: float) -> float:
    nearest = float(exact)
    inward = Fraction(nearest) > exact if towards < 0 else Fraction(nearest) < exact
    return math.nextafter(nearest, towards) if inward else nearest
