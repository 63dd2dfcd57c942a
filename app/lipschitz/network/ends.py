"""Two ends of an interval, entry by entry, kept safe against rounding, underflow, overflow and NaN.

IEEE 754 rounds sums, products and quotients correctly, and torch's roots err by less than a unit, so moving each end
to the next double outwards covers what they lose, subnormal results included: 1e-200 * 1e-200 is 0 in float64, and
[0, 2^-1074] holds it. An infinite end stands for large real numbers: zero times it is zero, and a lower end that
overflowed is the largest double.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

MARGIN = 2.0**-40
"""Relative allowance for the rounding of values computed in float64."""

Ends = tuple[Tensor, Tensor]


def nan_unbounded(lower: Tensor, upper: Tensor) -> Ends:
    """The ends themselves; NaN, the trace of an infinite operand, becomes unbounded."""
    return (
        torch.nan_to_num(lower, nan=-math.inf, posinf=math.inf, neginf=-math.inf),
        torch.nan_to_num(upper, nan=math.inf, posinf=math.inf, neginf=-math.inf),
    )


def outward(lower: Tensor, upper: Tensor) -> Ends:
    """Each end moved to the next double outwards; NaN becomes unbounded."""
    least, most = nan_unbounded(lower, upper)
    below, above = torch.full_like(least, -math.inf), torch.full_like(most, math.inf)
    return torch.nextafter(least, below), torch.nextafter(most, above)


def aligned(*tensors: Tensor) -> list[Tensor]:
    """Lone numbers moved to where the vectors are."""
    device = next((x.device for x in tensors if x.ndim), tensors[0].device)
    return [x.to(device) for x in tensors]


def widened(lower: Tensor, upper: Tensor, allowance: Tensor | float) -> Ends:
    """The ends moved outwards by `allowance`, and one double further; NaN becomes unbounded.

    For ends that came out of a rounded computation of several steps, of which one may have overflowed where the result
    does not: a lower end of +inf tells nothing, nor does an upper one of -inf. What was only copied has no allowance
    and needs no widening.
    """
    least, most = lower - allowance, upper + allowance
    return outward(torch.where(least == math.inf, -math.inf, least), torch.where(most == -math.inf, math.inf, most))


def around(middle: Tensor, radius: Tensor | None) -> Ends:
    """All numbers within the radius of the middle; the middle itself where the radius is 0, or None for 0."""
    if radius is None:
        return middle, middle
    least, most = outward(middle - radius, middle + radius)
    return _where(radius == 0, (middle, middle), (least, most))


def magnitude(ends: Ends) -> Tensor:
    """The largest absolute value, entry by entry."""
    return torch.maximum(ends[0].abs(), ends[1].abs())


def total(left: Ends, right: Ends) -> Ends:
    """Enclosure of the entrywise sum; adding an exact zero rounds nothing."""
    a, b, c, d = aligned(*left, *right)
    left, right = (a, b), (c, d)
    least, most = outward(a + c, b + d)
    least, most = _where(is_zero(left), right, (least, most))
    return _where(is_zero(right), left, (least, most))


def product(left: Ends, right: Ends) -> Ends:
    """Enclosure of the entrywise product; an exact zero stays one."""
    return _corners(torch.mul, left, right, is_zero(left) | is_zero(right))


def quotient(left: Ends, right: Ends) -> Ends:
    """Enclosure of the entrywise quotient; unbounded where the divisor may be zero."""
    least, most = _corners(torch.div, left, right, is_zero(left))
    across = (right[0] <= 0) & (right[1] >= 0)
    return torch.where(across, -math.inf, least), torch.where(across, math.inf, most)


def is_zero(ends: Ends) -> Tensor:
    """Whether an entry is zero and nothing else."""
    return (ends[0] == 0) & (ends[1] == 0)


def _corners(operation: Callable[[Tensor, Tensor], Tensor], left: Ends, right: Ends, exactly_zero: Tensor) -> Ends:
    """The extremes of an operation that is monotone in either operand; 0 * inf and inf / inf count as zero."""
    a, b, c, d = aligned(*left, *right)
    least = most = _without_nan(operation(a, c))
    for x, y in ((a, d), (b, c), (b, d)):
        corner = _without_nan(operation(x, y))
        least, most = torch.minimum(least, corner), torch.maximum(most, corner)
    least, most = outward(least, most)
    return torch.where(exactly_zero, 0.0, least), torch.where(exactly_zero, 0.0, most)


def _without_nan(corner: Tensor) -> Tensor:
    return torch.nan_to_num(corner, nan=0.0, posinf=math.inf, neginf=-math.inf)


def _where(condition: Tensor, yes: Ends, no: Ends) -> Ends:
    return torch.where(condition, yes[0], no[0]), torch.where(condition, yes[1], no[1])
