"""A function of one real variable with its derivative, enclosed over many cells at once, one cell an entry.

The arithmetic rounds outwards; the functions inside come with their own enclosures (`Scalar.range`, `Scalar.slopes`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from .arithmetic import Interval
from .scalar import LINE, Scalar, Window


@dataclass(frozen=True, eq=False)
class Jet:
    """Enclosures of a function and of its derivative over a cell."""

    value: Interval
    slope: Interval

    def plus(self, other: Jet) -> Jet:
        """f + g."""
        return Jet(self.value + other.value, self.slope + other.slope)

    def times(self, other: Jet) -> Jet:
        return Jet(self.value * other.value, self.slope * other.value + self.value * other.slope)

    def through(self, name: str, scalar: Scalar, window: Window) -> Jet:
        """phi(f) for the function called `name`; f is known to stay within `window`."""
        value = Interval(*scalar.range(*self.value.ends))
        return Jet(value, slopes_over(scalar, self.value, window) * self.slope)

    def larger(self, other: Jet, sign: float) -> Jet:
        """max(f, g) for sign 1, min(f, g) for sign -1; where it is open which, the slope is either's."""
        choose = torch.maximum if sign > 0 else torch.minimum
        value = Interval(choose(self.value.lower, other.value.lower), choose(self.value.upper, other.value.upper))
        return Jet(value, self.slope.hull(other.slope))


def slopes_over(scalar: Scalar, over: Interval, window: Window = LINE) -> Interval:
    """The difference quotients of a function over each cell, as far as it lies in the window."""
    below, above = window
    inner = over.within(
        -math.inf if below is None else float(below.place.at), math.inf if above is None else float(above.place.at)
    )
    return Interval(*scalar.slopes(*inner.ends, window))
