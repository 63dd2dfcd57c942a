"""Two lines around an elementwise function on an interval: one below its graph, one above, both proved.

The interval is cut at a grid and next to the function's knots. Between two cuts p and q the function's slopes are
known to lie in [a, b], so phi(x) - k x, whose values at p and q are known, falls below the smaller of them by at most
(k - a)(b - k) / (b - a) (q - p), and not at all where k is outside [a, b]. So a slope k may be chosen by any means: the
offset that belongs to it is proved. No function needs a rule of its own; kinks and inflections are none but cuts.

The slope is the one whose line is closest to the function in the middle of the interval. For the line below a ReLU that
is the adaptive rule of CROWN (Zhang et al., NeurIPS 2018), for a convex function its tangent there, and where the
function is concave its chord.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..network.arithmetic import Interval
from ..network.ends import Ends
from ..network.scalar import PiecewiseMonotone, Scalar

PARTS = 16
"""Parts of the grid, for functions that are curved."""
HALVINGS = 32
"""Steps of the search for a slope."""
AT_ONCE = 2**21
"""Most points that a function is asked about at once."""


@dataclass(frozen=True, eq=False)
class Lines:
    """`lower[0] x + lower[1] <= phi(x) <= upper[0] x + upper[1]`; slopes and offsets, `(n,)` each, the latter may be
    infinite.
    """

    lower: tuple[Tensor, Tensor]
    upper: tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Cuts:
    """Points `(J, n)` of each entry's interval in order, values there, and slopes `(J - 1, n)` between neighbours."""

    points: Tensor
    values: Interval
    slopes: Interval

    @property
    def negative(self) -> Cuts:
        """The same of minus the function."""
        return Cuts(self.points, -self.values, -self.slopes)


def lines(scalar: Scalar, lower: Tensor, upper: Tensor) -> Lines:
    """Lines around the function for arguments in `lower <= x <= upper`, flat vectors `(n,)`.

    Where the interval is not finite, or no line has a finite offset, constants.
    """
    known = torch.isfinite(lower) & torch.isfinite(upper)
    cuts = _cuts(scalar, torch.where(known, lower, 0.0), torch.where(known, upper, 0.0))
    least, most = scalar.range(lower, upper)
    below, above = slope_below(cuts), -slope_below(cuts.negative)
    under, over = offset_below(cuts, below), -offset_below(cuts.negative, -above)
    return Lines(_or_constant(known, below, under, least), _or_constant(known, above, over, most))


@dataclass(frozen=True, eq=False)
class Fan:
    """Lines of an activation's open neurons at `positions`, `(k,)`: rows of `below` and `above`, `(2, 3, k)`, are
    slopes and offsets of three lines each, that of `Lines` and those of the function's outermost slopes.

    All are proved, so every mean of them is a line too. `slopes` and `offsets`, `(k,)`, are at least their sizes.
    """

    positions: Tensor
    below: Tensor
    above: Tensor

    @classmethod
    def of(cls, scalar: Scalar, lower: Tensor, upper: Tensor, lines: Lines) -> Fan:
        """Of the entries whose slope is not known on `lower <= x <= upper`, flat vectors `(n,)`; `lines` are theirs."""
        least, most = scalar.slopes(lower, upper)
        whole = torch.isfinite(lower) & torch.isfinite(upper)
        cuts = _cuts(scalar, torch.where(whole, lower, 0.0), torch.where(whole, upper, 0.0))
        below = _three(cuts, lines.lower)
        above = -_three(cuts.negative, (-lines.upper[0], -lines.upper[1]))
        known = torch.isfinite(below).all(0).all(0) & torch.isfinite(above).all(0).all(0)
        (positions,) = (whole & known & (least < most)).nonzero(as_tuple=True)
        return cls(positions, below[..., positions], above[..., positions])

    @cached_property
    def slopes(self) -> Tensor:
        """At least the size of every line's slope."""
        return torch.maximum(self.below[0].abs().amax(0), self.above[0].abs().amax(0))

    @cached_property
    def offsets(self) -> Tensor:
        """At least the size of every line's offset."""
        return torch.maximum(self.below[1].abs().amax(0), self.above[1].abs().amax(0))

    def line(self, shares: Tensor, is_below: Tensor) -> tuple[Tensor, Tensor]:
        """Slopes and offsets, `(B, k)`, of means of the three lines below or above.

        `shares`, `(B, 2, k)`, are the parts of the second and of the third.
        """
        second, third = shares.unbind(1)

        def mean(one: Tensor, two: Tensor, three: Tensor) -> Tensor:
            return one + second * (two - one) + third * (three - one)

        slope, offset = (
            torch.where(is_below, mean(*below), mean(*above))
            for below, above in zip(self.below, self.above, strict=True)
        )
        return slope, offset


def _three(cuts: Cuts, line: tuple[Tensor, Tensor]) -> Tensor:
    """Slopes and offsets `(2, 3, n)` of the line and of those below with the outermost slopes."""
    slopes = [slope.expand_as(line[0]) for slope in _outermost(_secants(cuts))]
    pairs = [line, *((slope, offset_below(cuts, slope)) for slope in slopes)]
    return torch.stack([torch.stack([pair[part] for pair in pairs]) for part in range(2)])


def _or_constant(known: Tensor, slope: Tensor, offset: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
    good = known & torch.isfinite(slope) & torch.isfinite(offset)
    return torch.where(good, slope, 0.0), torch.where(good, offset, level)


def _cuts(scalar: Scalar, lower: Tensor, upper: Tensor) -> Cuts:
    parts = 1 if isinstance(scalar, PiecewiseMonotone) and scalar.linear else PARTS
    inner = [lower + (upper - lower) * (part / parts) for part in range(1, parts)]
    for knot in scalar.knots:
        numbers = (knot.place.at, knot.place.radius)
        at, away = (torch.as_tensor(number, dtype=lower.dtype, device=lower.device) for number in numbers)
        inner += [torch.nextafter(at - away, lower.new_tensor(-math.inf)).expand_as(lower)]
        inner += [torch.nextafter(at + away, lower.new_tensor(math.inf)).expand_as(lower)]
    clamped = [torch.minimum(torch.maximum(point, lower), upper) for point in inner]
    points = torch.stack([lower, *clamped, upper]).sort(0).values
    return Cuts(points, _rows(scalar.range, points, points), _rows(scalar.slopes, points[:-1], points[1:]))


def _rows(enclose: Callable[[Tensor, Tensor], Ends], lower: Tensor, upper: Tensor) -> Interval:
    """Row by row, all at once where that takes little memory."""
    if lower.numel() <= AT_ONCE:
        return Interval(*enclose(lower, upper))
    least, most = zip(*(enclose(low, high) for low, high in zip(lower, upper, strict=True)), strict=True)
    return Interval(torch.stack(least), torch.stack(most))


def slope_below(cuts: Cuts) -> Tensor:
    """A slope `(n,)` whose line below the function is high in the middle: not proved, any slope is allowed.

    The height there, k m + min_j (v_j - k x_j), is concave in k; it grows with k as long as the lowest point x_j of the
    tilted graph is left of the middle m.
    """
    x, v = cuts.points, cuts.values.lower
    secants = _secants(cuts)
    first, last = _outermost(secants)
    least, most = secants.nan_to_num(nan=math.inf).amin(0), secants.nan_to_num(nan=-math.inf).amax(0)
    middle = x[0] + (x[-1] - x[0]) / 2

    def lowest(k: Tensor) -> Tensor:
        return (v - k * x).argmin(0, keepdim=True)

    for _ in range(HALVINGS):
        k = least / 2 + most / 2
        grows = x.gather(0, lowest(k))[0] < middle
        least, most = torch.where(grows, k, least), torch.where(grows, most, k)
    chord = (v[-1] - v[0]) / (x[-1] - x[0])
    best, height = torch.zeros_like(middle), torch.full_like(middle, -math.inf)
    for k in (least, chord, first, last):
        own = k * middle + (v - k * x).amin(0)
        better = own > height  # never where NaN
        best, height = torch.where(better, k, best), torch.where(better, own, height)
    return best


def _secants(cuts: Cuts) -> Tensor:
    """Between neighbouring cuts, `(J - 1, n)`; no number where they coincide."""
    x, v = cuts.points, cuts.values.lower
    return ((v[1:] - v[:-1]) / (x[1:] - x[:-1])).nan_to_num(nan=math.nan, posinf=math.nan, neginf=math.nan)


def _outermost(secants: Tensor) -> tuple[Tensor, Tensor]:
    """The first and the last secant that is a number."""
    known = ~secants.isnan()
    first = known.to(torch.int8).argmax(0, keepdim=True)
    last = len(secants) - 1 - known.flip(0).to(torch.int8).argmax(0, keepdim=True)
    return secants.gather(0, first)[0], secants.gather(0, last)[0]


def offset_below(cuts: Cuts, slope: Tensor) -> Tensor:
    """The largest offset, `(n,)`, that is proved for a line of that slope below the function."""
    k, x = Interval.point(slope), cuts.points
    heights = (cuts.values - Interval.point(x) * k).lower
    lowest = torch.minimum(heights[1:], heights[:-1])
    falls, rises = (k - Interval.point(cuts.slopes.lower)).upper, (Interval.point(cuts.slopes.upper) - k).upper
    across, known = (falls > 0.0) & (rises > 0.0), torch.isfinite(falls) & torch.isfinite(rises)
    falls, rises = torch.where(across & known, falls, 1.0), torch.where(across & known, rises, 1.0)
    drop = Interval.point(falls) / (1.0 + Interval.point(falls) / Interval.point(rises))
    drop = drop * (Interval.point(x[1:]) - Interval.point(x[:-1]))
    lost = torch.where(across, torch.where(known, drop.upper, math.inf), 0.0)
    return (Interval.point(lowest) - lost).lower.amin(0)
