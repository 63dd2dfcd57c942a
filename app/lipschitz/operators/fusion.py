"""When two neighbours of a product are one operator: the rule table `_RULES`, keyed by (outer, inner) type.

A rule answers with the parts that replace the pair, outermost first, or None. Rules compare the dimensions
that they act on rather than whole shapes, since reshapes between neighbours have vanished by then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .adjoint import adjoint
from .base import LinearOperator
from .composite import Adjoint
from .convolution import Convolution
from .dense import Dense
from .diagonal import Diagonal
from .folding import (
    along_channels,
    along_last,
    folded_error,
    is_scalar,
    kept,
    pattern,
    roundings,
)
from .gather import Gather

Parts = Sequence[LinearOperator]


def fuse(outer: LinearOperator, inner: LinearOperator) -> Parts | None:
    """Parts equal to the product outer inner, simpler than the pair; None where no rule applies."""
    rule = _RULES.get((type(outer), type(inner)))
    return None if rule is None else rule(outer, inner)


def is_identity(gather: Gather) -> bool:
    """Reads every input once, in order."""
    positions = torch.arange(gather.out_size, device=gather.device)
    return gather.in_size == gather.out_size and torch.equal(gather.index, positions)


def _gather_gather(outer: Gather, inner: Gather) -> Parts:
    read = inner.index[outer.index.clamp(min=0)] if inner.out_size else outer.index
    index = torch.where(outer.index >= 0, read, -1)
    return [Gather(inner.in_shape, outer.out_shape, index)]


def _dense_dense(outer: Dense, inner: Dense) -> Parts | None:
    """One matrix, unless the product is larger than its factors: low rank stays cheap as it is."""
    a, b = outer.matrix, inner.matrix
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        return None
    if a.shape[0] * b.shape[1] > a.numel() + b.numel():
        return None
    matrix = kept(a @ b, lambda: pattern(a) @ pattern(b))
    if matrix is None:
        return None
    error = folded_error(a.shape[1], outer, inner)
    out_shape = (*inner.in_shape[:-1], a.shape[0])
    return [Dense(inner.in_shape, out_shape, matrix, error)]


def _diagonal_dense(outer: Diagonal, inner: Dense) -> Parts | None:
    weight = along_last(outer, inner.matrix.shape[-2])
    return None if weight is None else _rescaled_matrix(inner, weight.unsqueeze(1), outer)


def _dense_diagonal(outer: Dense, inner: Diagonal) -> Parts | None:
    weight = along_last(inner, outer.matrix.shape[-1])
    return None if weight is None else _rescaled_matrix(outer, weight, inner)


def _rescaled_matrix(dense: Dense, weight: Tensor, diagonal: Diagonal) -> Parts | None:
    matrix = kept(dense.matrix * weight, lambda: pattern(dense.matrix) * pattern(weight))
    if matrix is None:
        return None
    return [replace(dense, matrix=matrix, error=folded_error(roundings(diagonal, dense.matrix), diagonal, dense))]


def _diagonal_convolution(outer: Diagonal, inner: Convolution) -> Parts | None:
    weight = along_channels(outer, inner.out_shape)
    return None if weight is None else _rescaled_kernel(inner, weight.reshape(-1, 1), outer)


def _convolution_diagonal(outer: Convolution, inner: Diagonal) -> Parts | None:
    weight = along_channels(inner, outer.in_shape)
    if weight is None:
        return None
    by_group = weight.reshape(outer.groups, -1)
    rows = by_group.repeat_interleave(outer.kernel.shape[0] // outer.groups, dim=0)
    return _rescaled_kernel(outer, rows, inner)


def _rescaled_kernel(conv: Convolution, weight: Tensor, diagonal: Diagonal) -> Parts | None:
    factor = weight.reshape(*weight.shape, *(1 for _ in conv.taps))
    kernel = kept(conv.kernel * factor, lambda: pattern(conv.kernel) * pattern(factor))
    if kernel is None:
        return None
    return [replace(conv, kernel=kernel, error=folded_error(roundings(diagonal, conv.kernel), diagonal, conv))]


def _is_pointwise(conv: Convolution) -> bool:
    plain = set(conv.taps) == {1} and set(conv.stride) == {1} and conv.groups == 1
    return plain and not any(lo or hi for lo, hi in conv.padding)


def _convolution_convolution(outer: Convolution, inner: Convolution) -> Parts | None:
    """A pointwise convolution beside an ungrouped one is a matrix on its channels."""
    if outer.in_shape != inner.out_shape or outer.groups > 1 or inner.groups > 1:
        return None
    if _is_pointwise(outer):
        shaped, combined = inner, "om,mc...->oc..."
        a, b = outer.kernel.flatten(1), inner.kernel
    elif _is_pointwise(inner):
        shaped, combined = outer, "om...,mc->oc..."
        a, b = outer.kernel, inner.kernel.flatten(1)
    else:
        return None
    kernel = kept(torch.einsum(combined, a, b), lambda: torch.einsum(combined, pattern(a), pattern(b)))
    if kernel is None or kernel.numel() > outer.kernel.numel() + inner.kernel.numel():
        return None
    error = folded_error(outer.kernel.shape[1], outer, inner)
    fused = replace(shaped, kernel=kernel, error=error, in_shape=inner.in_shape, out_shape=outer.out_shape)
    return [fused]


def _diagonal_diagonal(outer: Diagonal, inner: Diagonal) -> Parts | None:
    if outer.in_shape != inner.out_shape and not (is_scalar(outer) or is_scalar(inner)):
        return None
    shaped, other = (inner, outer) if is_scalar(outer) else (outer, inner)
    factor = other.weight.reshape(()) if is_scalar(other) else other.weight
    weight = kept(shaped.weight * factor, lambda: pattern(shaped.weight) * pattern(factor))
    if weight is None:
        return None
    terms = min(roundings(outer, inner.weight), roundings(inner, outer.weight))
    return [replace(shaped, weight=weight, error=folded_error(terms, outer, inner))]


def _transposed_rule(outer: LinearOperator, inner: LinearOperator) -> Parts | None:
    """outer inner = (inner^T outer^T)^T, where a rule knows the transposed pair."""
    first, second = adjoint(inner), adjoint(outer)
    fold = _FOLDS.get((type(first), type(second)))
    fused = None if fold is None else fold(first, second)
    return None if fused is None else [adjoint(part) for part in reversed(fused)]


def _scalar_outwards(outer: LinearOperator, inner: Diagonal) -> Parts | None:
    """A constant passes a gather, so that it can meet weights and gathers can meet each other."""
    if not is_scalar(inner):
        return None
    weight = inner.weight.reshape(())
    return [replace(inner, weight=weight, in_shape=outer.out_shape, out_shape=outer.out_shape), outer]


def _adjoint_diagonal(outer: Adjoint, inner: Diagonal) -> Parts | None:
    if isinstance(outer.operator, Gather):
        return _scalar_outwards(outer, inner)
    return _transposed_rule(outer, inner)


_Rules = dict[tuple[type, type], Callable[[Any, Any], Parts | None]]

# Two become one.
_FOLDS: _Rules = {
    (Gather, Gather): _gather_gather,
    (Dense, Dense): _dense_dense,
    (Diagonal, Dense): _diagonal_dense,
    (Dense, Diagonal): _dense_diagonal,
    (Diagonal, Convolution): _diagonal_convolution,
    (Convolution, Diagonal): _convolution_diagonal,
    (Convolution, Convolution): _convolution_convolution,
    (Diagonal, Diagonal): _diagonal_diagonal,
}

_RULES: _Rules = _FOLDS | {
    (Gather, Diagonal): _scalar_outwards,
    (Adjoint, Diagonal): _adjoint_diagonal,
    (Diagonal, Adjoint): _transposed_rule,
    (Adjoint, Adjoint): _transposed_rule,
}
