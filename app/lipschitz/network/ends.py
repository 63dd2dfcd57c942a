"""Two ends of an interval, entry by entry, kept safe against rounding and NaN."""

from __future__ import annotations

import math

import torch
from torch import Tensor

MARGIN = 2.0**-40
"""Relative allowance for the rounding of values computed in float64."""

Ends = tuple[Tensor, Tensor]


def widened(lower: Tensor, upper: Tensor, allowance: Tensor | float) -> Ends:
    """The ends moved outwards by `allowance`; NaN, the trace of an infinite operand, becomes unbounded."""
    least = torch.nan_to_num(lower - allowance, nan=-math.inf, posinf=math.inf, neginf=-math.inf)
    most = torch.nan_to_num(upper + allowance, nan=math.inf, posinf=math.inf, neginf=-math.inf)
    return least, most


def magnitude(ends: Ends) -> Tensor:
    """The largest absolute value, entry by entry."""
    return torch.maximum(ends[0].abs(), ends[1].abs())


def product(left: Ends, right: Ends) -> Ends:
    """Enclosure of the entrywise product; 0 times an infinite end is 0."""
    corners = torch.nan_to_num(
        torch.stack([a * b for a in left for b in right]), nan=0.0, posinf=math.inf, neginf=-math.inf
    )
    return widened(corners.amin(0), corners.amax(0), MARGIN * corners.abs().amax(0))
