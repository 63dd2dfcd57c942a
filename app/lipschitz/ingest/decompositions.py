"""Operators that are others put together: taken apart while a program is traced, so that those have the rules.

Each is the operator's definition in real arithmetic; the gate compares the result with the original.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .fused_attention import DECOMPOSITIONS as ATTENTION

aten = torch.ops.aten

MOST_FACTORS = 200
"""Of a running product: each is an operator of its own."""

Dims = Sequence[int] | None


def norm(x: Tensor, p: float | None = 2, dim: Dims = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """`torch.norm` with its old signature."""
    wide = x if dtype is None else x.to(dtype)
    norms: Tensor = torch.linalg.vector_norm(wide, 2 if p is None else p, list(dim) if dim else None, keepdim)
    return norms


def inner_product(x: Tensor, y: Tensor) -> Tensor:
    """<x, y>."""
    return (x * y).sum()


def _away(x: Tensor, dim: Dims, correction: float | None) -> tuple[Tensor, list[int], float]:
    """Distances from the mean, the axes, and what the sum of squares is divided by."""
    dims = [d % x.ndim for d in dim] if dim else list(range(x.ndim))
    count = math.prod(x.shape[d] for d in dims) - (1.0 if correction is None else float(correction))
    return x - x.mean(dims, True), dims, count


def deviation(x: Tensor, dim: Dims = None, *, correction: float | None = None, keepdim: bool = False) -> Tensor:
    """A 2-norm, which has a constant everywhere; the root of a sum of squares has none at 0."""
    away, dims, count = _away(x, dim, correction)
    norms: Tensor = torch.linalg.vector_norm(away, 2, dims, keepdim)
    return norms / math.sqrt(count)


def variance(x: Tensor, dim: Dims = None, *, correction: float | None = None, keepdim: bool = False) -> Tensor:
    """The mean of squares where nothing is corrected, as in layer norm."""
    away, dims, count = _away(x, dim, correction)
    square = away * away
    return square.mean(dims, keepdim) if correction == 0 else square.sum(dims, keepdim) / count


def _with_mean(of: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, Tensor]]:
    def both(
        x: Tensor, dim: Dims = None, *, correction: float | None = None, keepdim: bool = False
    ) -> tuple[Tensor, Tensor]:
        dims = list(dim) if dim else list(range(x.ndim))
        return of(x, dim, correction=correction, keepdim=keepdim), x.mean(dims, keepdim)

    return both


def distances(x: Tensor, y: Tensor, p: float, compute_mode: int | None) -> Tensor:  # noqa: ARG001 - its signature
    """Of all rows to all rows."""
    norms: Tensor = torch.linalg.vector_norm(x.unsqueeze(-2) - y.unsqueeze(-3), p, [-1])
    return norms


def numbers(x: Tensor, nan: Any = None, posinf: Any = None, neginf: Any = None) -> Tensor:  # noqa: ARG001
    """The tensor itself: real numbers are numbers."""
    return x + 0.0


def kth(x: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The k-th smallest entry."""
    values, positions = torch.sort(x, dim)
    value, place = (t.narrow(dim, k - 1, 1) for t in (values, positions))
    return (value, place) if keepdim else (value.squeeze(dim), place.squeeze(dim))


def median(x: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    return kth(x, (x.shape[dim] + 1) // 2, dim, keepdim)


def log_sum(x: Tensor, y: Tensor) -> Tensor:
    """log(e^x + e^y)."""
    return torch.logsumexp(torch.stack(torch.broadcast_tensors(x, y)), 0)


def hypotenuse(x: Tensor, y: Tensor) -> Tensor:
    """sqrt(x^2 + y^2)."""
    norms: Tensor = torch.linalg.vector_norm(torch.stack(torch.broadcast_tensors(x, y)), 2, [0])
    return norms


def logit(x: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x))."""
    x = x if eps is None else x.clamp(eps, 1.0 - eps)
    return torch.log(x) - torch.log1p(-x)


def sum_of_products(x: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """`addbmm`."""
    return beta * x + alpha * torch.bmm(a, b).sum(0)


def running_product(x: Tensor, dim: int, *, dtype: Any = None) -> Any:
    """One factor after the other."""
    if dtype not in (None, x.dtype) or x.ndim == 0 or not 0 < x.shape[dim] <= MOST_FACTORS:
        return NotImplemented
    return torch.stack(list(itertools.accumulate(x.unbind(dim), torch.mul)), dim)


def arc_sine(x: Tensor) -> Tensor:
    return torch.atan(x * torch.rsqrt(1.0 - x * x))


def to_grid(x: Tensor, scale: Any, zero: Any, least: int, most: int) -> Tensor:
    """Quantised and back: the nearest of the points (q - zero) scale with least <= q <= most."""
    points: Tensor = (torch.clamp(torch.round(x / scale) + zero, least, most) - zero) * scale
    return points


def to_grid_by_channel(x: Tensor, scale: Tensor, zero: Tensor, axis: int, *ends: int) -> Tensor:
    shape = [-1 if dim == axis % x.ndim else 1 for dim in range(x.ndim)]
    return to_grid(x, scale.reshape(shape), zero.reshape(shape), *ends)


def to_grid_if(x: Tensor, scale: Tensor, zero: Tensor, enabled: Tensor, *ends: int) -> Tensor:
    return torch.where(enabled == 1, to_grid(x, scale, zero, *ends), x)


def _with_mask(of: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, Tensor]]:
    def both(x: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
        return of(x, *rest), torch.ones_like(x, dtype=torch.bool)

    return both


DECOMPOSITIONS: Mapping[Any, Callable[..., Any]] = {
    **ATTENTION,
    aten.norm.Scalar: norm,
    aten.norm.ScalarOpt_dim: norm,
    aten.dot.default: inner_product,
    aten.vdot.default: inner_product,
    aten.std.correction: deviation,
    aten.var.correction: variance,
    aten.std_mean.correction: _with_mean(deviation),
    aten.var_mean.correction: _with_mean(variance),
    aten._cdist_forward.default: distances,
    aten.nan_to_num.default: numbers,
    aten.kthvalue.default: kth,
    aten.median.dim: median,
    aten.logaddexp.default: log_sum,
    aten.hypot.default: hypotenuse,
    aten.logit.default: logit,
    aten.addbmm.default: sum_of_products,
    aten.lerp.Scalar: lambda x, y, weight: x + weight * (y - x),
    aten.lerp.Tensor: lambda x, y, weight: x + weight * (y - x),
    aten.addcmul.default: lambda x, a, b, *, value=1: x + value * (a * b),
    aten.addcdiv.default: lambda x, a, b, *, value=1: x + value * (a / b),
    aten.unsafe_split.Tensor: lambda x, size, dim=0: torch.split(x, size, dim),
    aten.unsafe_split_with_sizes.default: lambda x, sizes, dim=0: torch.split(x, sizes, dim),
    aten.cumprod.default: running_product,
    aten.fake_quantize_per_tensor_affine_cachemask.default: _with_mask(to_grid),
    aten.fake_quantize_per_channel_affine_cachemask.default: _with_mask(to_grid_by_channel),
    aten._fake_quantize_per_tensor_affine_cachemask_tensor_qparams.default: _with_mask(to_grid_if),
    aten.erfc.default: lambda x: 1.0 - torch.erf(x),
    aten.sinh.default: lambda x: (torch.exp(x) - torch.exp(-x)) / 2.0,
    aten.cosh.default: lambda x: (torch.exp(x) + torch.exp(-x)) / 2.0,
    aten.atanh.default: lambda x: (torch.log1p(x) - torch.log1p(-x)) / 2.0,
    aten.acosh.default: lambda x: torch.log(x + torch.sqrt(x * x - 1.0)),
    aten.asin.default: arc_sine,
    aten.acos.default: lambda x: math.pi / 2.0 - arc_sine(x),
}
"""By operator."""
