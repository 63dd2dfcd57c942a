"""What every operator with stored numbers asks of them."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InvalidModel
from .rounding import widened


class NotFinite(InvalidModel, ValueError):
    """Weights that are NaN or infinite, as stored or as products of constants that overflow float64."""


def require_finite(weight: Tensor, owner: str) -> None:
    """NotFinite where `weight` holds NaN or infinity, ValueError unless it is float64: no norm could be stated."""
    if weight.dtype != torch.float64:
        raise ValueError(f"{owner} needs float64 weights, not {weight.dtype}")
    if not bool(torch.isfinite(weight).all()):
        raise NotFinite(f"{owner} has weights that are not finite: NaN, or too large for float64")


def largest_sum(weight: Tensor, dims: tuple[int, ...]) -> float:
    """Upper bound of the largest sum of |weight| over `dims`, rounding included; 0 for an empty tensor."""
    if weight.numel() == 0:
        return 0.0
    terms = 1
    for dim in dims:
        terms *= weight.shape[dim]
    return widened(float(weight.abs().sum(dim=dims).max()), terms)
