"""A number times an unknown factor: what an activation does to a row of the Jacobian that is moved backward.

For a factor d in [a, b] and g in [l, u] the product lies between min(a g, b g), which is concave in g, and
max(a g, b g), which is convex. So the closest line below joins the ends of the former, the closest line above those of
the latter: McCormick's planes (Shi et al., NeurIPS 2022) where nothing but its range is known of the factor. Where g
has one sign they touch a g or b g.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..bounds.lines import Lines
from ..network.arithmetic import Interval
from ..network.ends import Ends, product
from ..network.scalar import LINE, Scalar, Slope, Window


@dataclass(frozen=True, eq=False)
class Factor(Scalar):
    """g -> d g, entry by entry, for any d with `least <= d <= most`, `(n,)` each."""

    least: Tensor
    most: Tensor

    @classmethod
    def between(cls, least: Tensor, most: Tensor) -> Factor:
        """Any factor in that range; what is computed is the product with its middle."""
        middle = torch.nan_to_num(least / 2 + most / 2, posinf=0.0, neginf=0.0)
        return cls(lambda g: g * middle, least, most)

    def slope(self) -> Slope:
        """The factors of all entries."""
        return Slope(float(self.least.min()), float(self.most.max()))

    def slopes(self, lower: Tensor, upper: Tensor, window: Window = LINE) -> Ends:  # noqa: ARG002 - the same anywhere
        return self.least, self.most

    def range(self, lower: Tensor, upper: Tensor) -> Ends:
        return product((self.least, self.most), (lower, upper))

    def is_open(self, lower: Tensor, upper: Tensor) -> Tensor:
        """Where the lines do not touch the extreme products: g may have either sign, `(n,)`."""
        return (self.least < self.most) & (lower < 0.0) & (upper > 0.0)

    def lines(self, lower: Tensor, upper: Tensor) -> Lines:
        """Lines around the products for `lower <= g <= upper`; constants where an end is not finite."""
        a, b = self.least, self.most
        finite = torch.isfinite(a) & torch.isfinite(b) & torch.isfinite(lower) & torch.isfinite(upper)
        a, b = torch.where(finite, a, 0.0), torch.where(finite, b, 0.0)
        low, high = torch.where(finite, lower, 0.0), torch.where(finite, upper, 0.0)
        least, most = self.range(lower, upper)
        below, above = _chord(a, b, low, high), _chord(b, a, low, high)
        return Lines(
            (torch.where(finite, below, 0.0), torch.where(finite, _offset(a, b, below, low, high), least)),
            (torch.where(finite, above, 0.0), torch.where(finite, -_offset(-b, -a, -above, low, high), most)),
        )


def _chord(right: Tensor, left: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The slope of the line through (l, left l) and (u, right u) where g has either sign; else that of the side."""
    across = (high * right - low * left) / (high - low)
    sided = torch.where(low >= 0.0, right, torch.where(high <= 0.0, left, across))
    plain = torch.isfinite(sided) & (left != right)
    return torch.where(plain, sided, torch.where(low >= 0.0, right, left))


def _offset(a: Tensor, b: Tensor, slope: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """At most min(a g, b g) - slope g for all g of the range: that is concave, so least at an end, or at 0 for a line.

    Nothing is lost where the slope is that of the side on which all of the range lies.
    """
    k = Interval.point(slope)
    ends = []
    for g in (low, high):
        x = Interval.point(g)
        ends += [((Interval.point(a) - k) * x).lower, ((Interval.point(b) - k) * x).lower]
    offset = torch.stack(ends).amin(0).clamp(max=0.0)
    exact = ((low >= 0.0) & (slope == a)) | ((high <= 0.0) & (slope == b)) | ((a == b) & (slope == a))
    return torch.where(exact, 0.0, offset.nan_to_num(nan=-math.inf, neginf=-math.inf))
