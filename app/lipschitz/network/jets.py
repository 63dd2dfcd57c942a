"""Interval arithmetic on a function of one real variable and its derivative.

A `Jet` encloses the values and the derivative of a function over many cells at once, one cell an entry. Every
sum and product is rounded outwards to the next double; the functions inside come with their own enclosures
(`Scalar.range`, `Scalar.slopes`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from app.lipschitz.network.scalar import Scalar


@dataclass(frozen=True, eq=False)
class Interval:
    """`lower <= x <= upper`, entry by entry; ends may be infinite, never NaN."""

    lower: Tensor
    upper: Tensor

    @classmethod
    def of(cls, lower: float, upper: float) -> Interval:
        """One interval for all cells."""
        return cls(torch.tensor([lower], dtype=torch.float64), torch.tensor([upper], dtype=torch.float64))

    def __add__(self, other: Interval) -> Interval:
        return _outward(self.lower + other.lower, self.upper + other.upper)

    def __mul__(self, other: Interval) -> Interval:
        pairs = ((a, b) for a in (self.lower, self.upper) for b in (other.lower, other.upper))
        # An infinite end stands for large real numbers, so zero times it is zero.
        products = torch.stack(torch.broadcast_tensors(*(torch.nan_to_num(a * b, 0.0, torch.inf, -torch.inf)
                                                         for a, b in pairs)))  # fmt: skip
        return _outward(products.amin(0), products.amax(0))

    def hull(self, other: Interval) -> Interval:
        """The smallest interval around both."""
        return Interval(torch.minimum(self.lower, other.lower), torch.maximum(self.upper, other.upper))

    def within(self, lower: float, upper: float) -> Interval:
        """Cut down to `[lower, upper]`, which is known to hold every value."""
        return Interval(self.lower.clamp(lower, upper), self.upper.clamp(lower, upper))

    @property
    def magnitude(self) -> float:
        """The largest absolute value."""
        return max(abs(float(self.lower.min())), abs(float(self.upper.max())))


def _outward(lower: Tensor, upper: Tensor) -> Interval:
    below, above = torch.tensor(-math.inf, dtype=torch.float64), torch.tensor(math.inf, dtype=torch.float64)
    return Interval(
        torch.nextafter(torch.nan_to_num(lower, nan=-math.inf, posinf=math.inf, neginf=-math.inf), below),
        torch.nextafter(torch.nan_to_num(upper, nan=math.inf, posinf=math.inf, neginf=-math.inf), above),
    )


@dataclass(frozen=True, eq=False)
class Jet:
    """Enclosures of a function and of its derivative over a cell."""

    value: Interval
    slope: Interval

    def plus(self, other: Jet) -> Jet:
        """f + g."""
        return Jet(self.value + other.value, self.slope + other.slope)

    def times(self, other: Jet) -> Jet:
        """f g."""
        return Jet(self.value * other.value, self.slope * other.value + self.value * other.slope)

    def through(self, name: str, scalar: Scalar, window: tuple[float, float]) -> Jet:
        """phi(f) for the function called `name`; f is known to stay within `window`."""
        inner = self.value.within(*window)
        return Jet(Interval(*scalar.range(self.value.lower, self.value.upper)), slopes_over(scalar, inner) * self.slope)

    def larger(self, other: Jet, sign: float) -> Jet:
        """max(f, g) for sign 1, min(f, g) for sign -1; where it is open which, the slope is either's."""
        choose = torch.maximum if sign > 0 else torch.minimum
        value = Interval(choose(self.value.lower, other.value.lower), choose(self.value.upper, other.value.upper))
        return Jet(value, self.slope.hull(other.slope))


def slopes_over(scalar: Scalar, over: Interval) -> Interval:
    """The difference quotients of a function over each cell."""
    return Interval(*scalar.slopes(over.lower, over.upper))
