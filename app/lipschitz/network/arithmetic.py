"""Interval arithmetic with operators, so that formulas for scalar functions read as in a book.

An exact number may stand on either side. Formulas are written so that they do not cancel; then an interval of
one point stays a few units in the last place wide, and what was lost is counted by the arithmetic itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from . import ends

Number = float | Tensor
"""An exact number, one for all entries or one each."""


@dataclass(frozen=True, eq=False)
class Interval:
    """`lower <= x <= upper`, entry by entry; ends may be infinite, never NaN."""

    lower: Tensor
    upper: Tensor

    @classmethod
    def of(cls, lower: Number, upper: Number) -> Interval:
        """From two exact numbers; a single one stands for all entries."""
        return cls(_tensor(lower), _tensor(upper))

    @classmethod
    def point(cls, x: Number) -> Interval:
        return cls(_tensor(x), _tensor(x))

    @classmethod
    def near(cls, x: float) -> Interval:
        """A real number whose nearest double is x."""
        return cls.of(math.nextafter(x, -math.inf), math.nextafter(x, math.inf))

    @property
    def ends(self) -> ends.Ends:
        return self.lower, self.upper

    def __neg__(self) -> Interval:
        return Interval(-self.upper, -self.lower)

    def __add__(self, other: Interval | Number) -> Interval:
        return Interval(*ends.total(self.ends, _interval(other).ends))

    def __radd__(self, other: Number) -> Interval:
        return self + other

    def __sub__(self, other: Interval | Number) -> Interval:
        return self + -_interval(other)

    def __rsub__(self, other: Number) -> Interval:
        return _interval(other) + -self

    def __mul__(self, other: Interval | Number) -> Interval:
        return Interval(*ends.product(self.ends, _interval(other).ends))

    def __rmul__(self, other: Number) -> Interval:
        return self * other

    def __truediv__(self, other: Interval | Number) -> Interval:
        return Interval(*ends.quotient(self.ends, _interval(other).ends))

    def __rtruediv__(self, other: Number) -> Interval:
        return _interval(other) / self

    def __abs__(self) -> Interval:
        least = torch.maximum(self.lower, -self.upper).clamp(min=0.0)
        return Interval(least, ends.magnitude(self.ends))

    def square(self) -> Interval:
        """x^2, never negative."""
        size = abs(self)
        return (size * size).within(0.0, math.inf)

    def sqrt(self) -> Interval:
        """The root, of which torch gives all but a unit (0.53 seen); unbounded where x may be negative."""
        return Interval(*ends.outward(self.lower.sqrt(), self.upper.sqrt())).within(0.0, math.inf)

    def hull(self, other: Interval) -> Interval:
        """The smallest interval around both."""
        a, b, c, d = ends.aligned(*self.ends, *other.ends)
        return Interval(torch.minimum(a, c), torch.maximum(b, d))

    def within(self, lower: float, upper: float) -> Interval:
        """Cut down to `[lower, upper]`, which is known to hold every value."""
        return Interval(self.lower.clamp(lower, upper), self.upper.clamp(lower, upper))

    @property
    def magnitude(self) -> float:
        """The largest absolute value."""
        return max(abs(float(self.lower.min())), abs(float(self.upper.max())))


def choose(condition: Tensor, yes: Interval, no: Interval) -> Interval:
    """Entry by entry one or the other."""
    given, *bounds = ends.aligned(condition, *yes.ends, *no.ends)
    return Interval(torch.where(given, bounds[0], bounds[2]), torch.where(given, bounds[1], bounds[3]))


def _interval(x: Interval | Number) -> Interval:
    return x if isinstance(x, Interval) else Interval.point(x)


def _tensor(x: Number) -> Tensor:
    """A lone number lies on the CPU, where every device can read it."""
    return x if isinstance(x, Tensor) else torch.tensor(x, dtype=torch.float64, device="cpu")
