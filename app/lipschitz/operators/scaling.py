"""Bounds of many problems at once, scaled back by a power of two."""

from __future__ import annotations

import torch
from torch import Tensor

from app.lipschitz.operators.rounding import up_ldexp


def raised(x: Tensor, exponent: int) -> Tensor:
    """x 2^exponent for x >= 0, entry by entry, rounded up: never 0 for an x above 0."""
    entries = [up_ldexp(value, exponent) for value in x.flatten().tolist()]
    return torch.tensor(entries, dtype=x.dtype, device=x.device).reshape(x.shape)
