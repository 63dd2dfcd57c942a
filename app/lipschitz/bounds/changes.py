"""Lines around phi(z) - phi(z') as a function of z - z', for an elementwise function with z and z' in known ranges.

It is d (z - z') with d between the least and the largest difference quotient a and b, so for a change t in [l, u] it
lies between min(a t, b t) and max(a t, b t): one is convex, the other concave, so a line whose offset holds at both
ends of [l, u] holds between them, whatever its slope. The slopes are those of the chords (Teuber et al., VeryDiff,
2025).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..network.arithmetic import Interval
from ..network.intervals import Interval as Range
from ..network.intervals import quotients
from ..network.nodes import Activation, Change, Node
from .lines import Lines


def lines_of_change(
    node: Change, ranges: Mapping[Node, Range], lines: Mapping[Activation, Lines]
) -> tuple[Lines, Tensor] | None:
    """Lines in the arguments' change, and the entries `(n,)` where the lines of both values apart are closer.

    None where there are no lines: for extremes, and where the change may be infinite everywhere.
    """
    if not (isinstance(node.left, Activation) and isinstance(node.right, Activation)):
        return None
    left, right, change = ranges[node.left.source], ranges[node.right.source], ranges[node.change]
    a, b = quotients(node, left, right)
    known = torch.isfinite(a) & torch.isfinite(b) & torch.isfinite(change.lower) & torch.isfinite(change.upper)
    chords = _chords(*(torch.where(known, end, 0.0) for end in (a, b, change.lower, change.upper)))
    gap = _gap(chords, change)
    apart = _gap(lines[node.left], left) + _gap(lines[node.right], right)
    return chords, ~known | (apart < gap)


def _chords(a: Tensor, b: Tensor, lower: Tensor, upper: Tensor) -> Lines:
    """Below min(a t, b t) and above max(a t, b t) for lower <= t <= upper."""
    below = _slope(torch.where(lower < 0, b, a) * lower, torch.where(upper < 0, b, a) * upper, lower, upper, a)
    above = _slope(torch.where(lower < 0, a, b) * lower, torch.where(upper < 0, a, b) * upper, lower, upper, b)
    least = torch.minimum(_offset(a, b, below, lower).lower, _offset(a, b, below, upper).lower)
    most = torch.maximum(_offset(a, b, above, lower).upper, _offset(a, b, above, upper).upper)
    return Lines((below, least), (above, most))


def _slope(first: Tensor, last: Tensor, lower: Tensor, upper: Tensor, otherwise: Tensor) -> Tensor:
    """The chord's; any slope is allowed, so it may be rounded."""
    slope = (last - first) / (upper - lower)
    return torch.where(torch.isfinite(slope), slope, otherwise)


def _offset(a: Tensor, b: Tensor, slope: Tensor, at: Tensor) -> Interval:
    """Of (d - slope) t for d in [a, b] at one t."""
    return (Interval(a, b) - Interval.point(slope)) * Interval.point(at)


def _gap(lines: Lines, range_: Range) -> Tensor:
    """How far the two lines are apart in the middle of the range; infinite where that is unknown."""
    middle = range_.lower / 2 + range_.upper / 2
    gap = (lines.upper[0] - lines.lower[0]) * middle + lines.upper[1] - lines.lower[1]
    return torch.nan_to_num(gap, nan=torch.inf, posinf=torch.inf)
