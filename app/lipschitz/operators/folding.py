"""What folding one operator into another needs: where a diagonal varies, and what rounding costs.

Two things are kept by every fold. A stored zero is a zero of the exact operator: where rounding or underflow left a 0
that the factors' patterns do not explain, the smallest number takes its place (`error` covers the difference). And a
fold of which underflow leaves next to nothing is given up: its factors stay apart, and norms are products of theirs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .base import LinearOperator, Shape
from .diagonal import Diagonal
from .rounding import TINY, gamma, up_mul, up_sum

LEAST = 2.0**-1000
"""Largest entry of a fold that is kept: underflow then loses less than rounding does."""


def is_scalar(diagonal: Diagonal) -> bool:
    """One number for all entries."""
    return diagonal.weight.numel() == 1


def _varies_only_along(diagonal: Diagonal, dim: int) -> bool:
    return all(size == 1 for d, size in enumerate(diagonal.aligned_shape) if d != dim)


def along_last(diagonal: Diagonal, size: int) -> Tensor | None:
    """The weight as a vector `(size,)` along a last dimension of that size, or None."""
    if is_scalar(diagonal):
        return diagonal.weight.reshape(1).expand(size)
    last = len(diagonal.in_shape) - 1
    if not _varies_only_along(diagonal, last) or diagonal.in_shape[-1] != size:
        return None
    return diagonal.weight.reshape(size)


def along_channels(diagonal: Diagonal, shape: Shape) -> Tensor | None:
    """The weight as a vector `(C,)` along the channels of a map `(N, C, *spatial)`, or None."""
    if is_scalar(diagonal):
        return diagonal.weight.reshape(1).expand(shape[1])
    if not _varies_only_along(diagonal, 1) or diagonal.in_shape[:2] != shape[:2]:
        return None
    return diagonal.weight.reshape(shape[1])


def roundings(diagonal: Diagonal, weight: Tensor) -> int:
    """Rounding errors of each product with `weight`: none for zeros and powers of two, short of underflow."""
    factors = diagonal.weight
    mantissa = torch.frexp(factors).mantissa.abs()
    exact = bool(((mantissa == 0.5) | (mantissa == 0.0)).all())
    smallest = _smallest(factors) * _smallest(weight)
    return 0 if exact and smallest > 1e-300 else 1


def pattern(weight: Tensor) -> Tensor:
    """1 where an entry is not zero."""
    return (weight != 0.0).to(weight.dtype)


def kept(product: Tensor, patterns: Callable[[], Tensor]) -> Tensor | None:
    """The weights of a fold without false zeros; None where they overflowed or underflow left next to nothing.

    `patterns` gives the same product of the factors' patterns: above 0 wherever the exact entry may not be 0.
    """
    if not bool(torch.isfinite(product).all()):
        return None
    zero = product == 0.0
    if bool(zero.any()):
        product = without_false_zeros(product, patterns())
    largest = float(product.abs().max()) if product.numel() else 0.0
    return None if 0.0 < largest < LEAST else product


def without_false_zeros(weight: Tensor, patterns: Tensor) -> Tensor:
    """The smallest number in place of every 0 where the pattern is above 0."""
    return torch.where((weight == 0.0) & (patterns > 0.5), TINY, weight)


def _smallest(weight: Tensor) -> float:
    sizes = weight.abs()
    return float(torch.where(sizes > 0.0, sizes, 1.0).min()) if weight.numel() else 1.0


def folded_error(terms: int, outer: LinearOperator, inner: LinearOperator) -> float:
    """`error` of the product folded into one set of weights, each a sum of `terms` rounded products.

    |fl(A B) - A B| <= gamma_terms |A| |B| + terms 2^-1074 entrywise, the latter for underflow, and
    (A + E)(B + F) - A B = E B + A F + E F. Norms of |A|, |B| are the larger of the 1- and inf-norms.
    """
    crossed: list[float] = []
    if terms or outer.error or inner.error:
        a, b = max(outer.absolute_sums()), max(inner.absolute_sums())
        crossed = [up_mul(outer.error, b), up_mul(a, inner.error), up_mul(outer.error, inner.error)]
    if terms:
        underflow = up_mul(TINY, float(terms * (outer.out_size + inner.in_size)))
        crossed += [up_mul(gamma(terms), up_mul(a, b)), underflow]
    return up_sum(crossed)
