"""Bounds of many problems at once, scaled back by a power of two."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .rounding import TINY

_STEP = 500
_FARTHEST = 5000
"""Powers of two beyond this take every number to 0 or infinity."""


def raised(x: Tensor, exponent: int) -> Tensor:
    """x 2^exponent for x >= 0, entry by entry, rounded up: never 0 for an x above 0."""
    left, scaled = max(-_FARTHEST, min(_FARTHEST, exponent)), x
    while left:
        step = max(-_STEP, min(_STEP, left))
        scaled, left = scaled * 2.0**step, left - step
        rounded = (scaled < torch.finfo(x.dtype).tiny) & (x > 0.0)
        scaled = torch.where(rounded & (step < 0), scaled + TINY, scaled)
    return scaled


def times(x: Tensor, factor: float) -> Tensor:
    """x times factor for x, factor >= 0, rounded up: 0 only where one of them is, and then even if the other is not
    finite.
    """
    product = x * factor * (1.0 + 2.0**-50) + TINY
    return torch.where((x == 0.0) | torch.tensor(factor == 0.0, device=x.device), 0.0, product)


def safe_norm(x: Tensor, order: float, dim: int = -1) -> Tensor:
    """The vector norm along a dimension, free of underflow and overflow of the squares; differentiable."""
    if not x.shape[dim]:
        return x.sum(dim)
    largest = x.detach().abs().amax(dim, keepdim=True)
    scale = torch.where((largest > 0.0) & (largest < math.inf), largest, 1.0)
    lengths: Tensor = torch.linalg.vector_norm(x / scale, order, dim=dim)
    return lengths * scale.squeeze(dim)
