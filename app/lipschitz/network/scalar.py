"""What every elementwise function tells: its values, and its difference quotients, on an interval.

Most functions are `PiecewiseMonotone`: value and derivative are monotone between a few known points, so on any
interval they are enclosed by what they are at its ends and at the points inside. The formulas for single points are
in `scalars`; no derivative is taken by automatic differentiation.
"""

from __future__ import annotations

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from .arithmetic import Interval, choose
from .ends import Ends, nan_unbounded

Entries = float | Tensor
"""One number for all entries, or a flat vector with one each."""

LARGEST = sys.float_info.max


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
class Place:
    """A real number known up to `radius`: the interval that is tested must not miss it by rounding."""

    at: Entries
    radius: Entries = 0.0

    @classmethod
    def near(cls, at: float) -> Place:
        """A number whose nearest double is `at`."""
        return cls(at, math.ulp(at))

    @property
    def is_exact(self) -> bool:
        """Whether it is a stored number."""
        return not bool(self.radius.any() if isinstance(self.radius, Tensor) else self.radius)

    def meets(self, lower: Tensor, upper: Tensor) -> Tensor:
        """Whether it may lie in `lower <= x <= upper`."""
        return (lower <= self.at + self.radius) & (self.at - self.radius <= upper)


@dataclass(frozen=True, eq=False)
class Knot:
    """A point where the derivative is extreme or jumps: enclosures of its limits from the left and the right.

    `right` is None where the derivative is continuous.
    """

    place: Place
    left: Interval
    right: Interval | None = None

    @property
    def hull(self) -> Interval:
        """All difference quotients close by."""
        return self.left if self.right is None else self.left.hull(self.right)


@dataclass(frozen=True, eq=False)
class Turn:
    """A point where the function stops falling or rising, and its value there."""

    place: Place
    value: Interval


Window = tuple[Knot | None, Knot | None]
"""Knots between which the argument is known to stay, their limits on this side included; None where there is none."""
LINE: Window = (None, None)


@dataclass(frozen=True, eq=False)
class Scalar(ABC):
    """A function on flat batches `(B, n)`, entry by entry: `function` computes it, the methods enclose it."""

    function: Callable[[Tensor], Tensor]

    @property
    def knots(self) -> tuple[Knot, ...]:
        """Where the derivative is extreme or jumps, as far as that is known."""
        return ()

    @abstractmethod
    def slope(self) -> Slope:
        """The range of difference quotients over all reals and all entries."""

    @abstractmethod
    def slopes(self, lower: Tensor, upper: Tensor, window: Window = LINE) -> Ends:
        """Entrywise ranges over `lower <= x <= upper`, flat vectors `(n,)`; never wider than `slope`."""

    @abstractmethod
    def range(self, lower: Tensor, upper: Tensor) -> Ends:
        """Entrywise enclosure of the values over `lower <= x <= upper`."""


Formula = Callable[[Tensor], Interval]
"""An enclosure at points `(n,)`, finite doubles that count as exact."""

ZERO, ONE, EVERYTHING = Interval.point(0.0), Interval.point(1.0), Interval.of(-math.inf, math.inf)


@dataclass(frozen=True, eq=False)
class PiecewiseMonotone(Scalar):
    """A function whose derivative is monotone between neighbouring `peaks`, and whose values are between `turns`.

    `limits` enclose the derivative at minus and plus infinity. Outside `reach` derivative and value are not computed
    but lie between theirs at its ends and the limits; `levels` are the value's limits, None where it is computed all
    the same. Where the interval reaches `start`, slopes count as unbounded; where it goes beyond, or a
    formula gives NaN, values do too. `linear`:
    the derivative is constant between the knots, which are exact.
    """

    value: Formula
    derivative: Formula
    peaks: tuple[Knot, ...] = ()
    limits: tuple[Interval, Interval] = (ZERO, ZERO)
    turns: tuple[Turn, ...] = ()
    reach: tuple[float, float] = (-LARGEST, LARGEST)
    levels: tuple[Interval | None, Interval | None] = (None, None)
    start: float | None = None
    linear: bool = False

    @property
    def knots(self) -> tuple[Knot, ...]:
        """The peaks, and jumps among them."""
        return self.peaks

    def slope(self) -> Slope:
        """The hull of the limits and the peaks."""
        parts = [*self.limits, *(knot.hull for knot in self.peaks)]
        return Slope(min(float(part.lower.min()) for part in parts), max(float(part.upper.max()) for part in parts))

    def slopes(self, lower: Tensor, upper: Tensor, window: Window = LINE) -> Ends:
        """The hull of the derivatives at both ends and of the knots between."""
        lower, upper = nan_unbounded(lower, upper)
        hull = self._slope_at(lower, window).hull(self._slope_at(upper, window))
        for knot in self.peaks:
            if knot not in window:
                hull = choose(knot.place.meets(lower, upper), hull.hull(knot.hull), hull)
        whole = self.slope()
        hull = hull if self.start is None else choose(lower <= self.start, EVERYTHING, hull)
        return hull.within(whole.lower, whole.upper).ends

    def range(self, lower: Tensor, upper: Tensor) -> Ends:
        """The hull of the values at both ends and of the turns between."""
        lower, upper = nan_unbounded(lower, upper)
        hull = self._value_at(lower).hull(self._value_at(upper))
        for turn in self.turns:
            hull = choose(turn.place.meets(lower, upper), hull.hull(turn.value), hull)
        return hull.ends if self.start is None else choose(lower < self.start, EVERYTHING, hull).ends

    def _slope_at(self, x: Tensor, window: Window) -> Interval:
        """The derivative at x; at a knot of the window, its limit from inside."""
        slope = self.derivative(x.clamp(*self.reach))
        slope = choose(x < self.reach[0], slope.hull(self.limits[0]), slope)
        slope = choose(x > self.reach[1], slope.hull(self.limits[1]), slope)
        below, above = window
        if below is not None:
            slope = choose(x <= below.place.at, below.right or below.left, slope)
        if above is not None:
            slope = choose(x >= above.place.at, above.left, slope)
        return Interval(*nan_unbounded(*slope.ends))

    def _value_at(self, x: Tensor) -> Interval:
        low = -math.inf if self.levels[0] is None else self.reach[0]
        high = math.inf if self.levels[1] is None else self.reach[1]
        value = self.value(x.clamp(low, high))
        if self.levels[0] is not None:
            value = choose(x < low, value.hull(self.levels[0]), value)
        if self.levels[1] is not None:
            value = choose(x > high, value.hull(self.levels[1]), value)
        return Interval(*nan_unbounded(*value.ends))
