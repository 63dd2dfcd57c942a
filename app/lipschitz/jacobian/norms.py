"""Operator norms of all matrices between two: from sums of magnitudes, and in the 2-norm from the middle as well."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..bounds.entries import Entries
from ..deadline import Deadline
from ..operators.dense import Dense
from ..operators.norm import Norm, norm
from ..operators.rounding import TINY, UNIT, up_add, up_mul, up_sqrt, widened


def largest_norm(entries: Entries, p: Norm, deadline: Deadline) -> float:
    """At least ||J||_p of every matrix J in the enclosure; infinite where an end is."""
    size = entries.magnitude
    if not size.numel():
        return 0.0
    if not bool(torch.isfinite(size).all()):
        return math.inf
    columns, rows = widened(float(size.sum(0).max()), len(size)), _largest_row(size, entries.sums)
    if p != "2":
        return columns if p == "1" else rows
    middle = entries.lower / 2 + entries.upper / 2
    away = torch.maximum(entries.upper - middle, middle - entries.lower)
    away = torch.where(away > 0.0, away * (1.0 + 4.0 * UNIT) + TINY, 0.0)
    around = up_add(_spectral(middle, deadline), _spectral(away, deadline))
    return min(up_sqrt(up_mul(columns, rows)), _spectral(size, deadline), around)


def _largest_row(size: Tensor, sums: Tensor | None) -> float:
    """At least the sum of magnitudes in every row."""
    each = [widened(float(row), size.shape[1]) for row in size.sum(1)]
    if sums is not None:
        each = [min(own, float(known)) for own, known in zip(each, sums, strict=True)]
    return max(each)


def _spectral(matrix: Tensor, deadline: Deadline) -> float:
    m, n = matrix.shape
    return norm(Dense((n,), (m,), matrix.contiguous()), "2", deadline).upper
