"""Building operators from operators, simplified where that loses nothing.

Reshapes vanish inside a product: on flat vectors they are the identity. Neighbours fuse by the rules of
`fusion`; folding in floating point adds to `error`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .base import LinearOperator, Shape
from .composite import Composed, Stack, Sum
from .convolution import Convolution
from .dense import Dense
from .diagonal import Diagonal
from .folding import pattern, without_false_zeros
from .fusion import fuse, is_identity
from .gather import Gather
from .reshape import Reshape
from .rounding import UNIT, up_add, up_mul, up_sum

Parts = Sequence[LinearOperator]


def compose(outer: LinearOperator, inner: LinearOperator) -> LinearOperator:
    """outer inner: x -> outer(inner(x)), simplified; ValueError when the sizes differ."""
    if outer.in_size != inner.out_size:
        raise ValueError(f"cannot compose {outer.in_shape} with {inner.out_shape}")
    parts: list[LinearOperator] = []
    for part in (*_factors(outer), *_factors(inner)):
        _push(parts, part)
    if not parts:
        return Reshape(inner.in_shape, outer.out_shape)
    if parts[0].out_shape != outer.out_shape:
        parts[:1] = _with_shapes(parts[0], parts[0].in_shape, outer.out_shape)
    if parts[-1].in_shape != inner.in_shape:
        parts[-1:] = _with_shapes(parts[-1], inner.in_shape, parts[-1].out_shape)
    return parts[0] if len(parts) == 1 else Composed(tuple(parts))


def chain(outer: LinearOperator, inner: LinearOperator) -> LinearOperator:
    """outer inner with nothing folded, so that whoever needs its matrix can follow the rounding from part to part.

    A fold's `error` holds in three norms at once and grows with the parts' absolute sums; on flat vectors.
    """
    parts = [part for part in (*_factors(outer), *_factors(inner)) if not _moves_nothing(part)]
    if not parts:
        return Reshape(inner.in_shape, outer.out_shape)
    return parts[0] if len(parts) == 1 else Composed(tuple(parts))


def _moves_nothing(part: LinearOperator) -> bool:
    return isinstance(part, Gather) and is_identity(part)


def add(a: LinearOperator, b: LinearOperator, sign: float = 1.0) -> LinearOperator:
    """a + sign b, sums flattened and equal matrices or kernels merged; ValueError when the sizes differ."""
    if (a.in_size, a.out_size) != (b.in_size, b.out_size):
        raise ValueError(f"cannot add {a.in_shape} -> {a.out_shape} and {b.in_shape} -> {b.out_shape}")
    terms = list(_terms(a))
    for term in _terms(scale(b, sign)):
        _merge(terms, term)
    total = terms[0] if len(terms) == 1 else Sum(tuple(terms))
    return _reshaped(total, a.in_shape, a.out_shape)


def stack(parts: Parts) -> LinearOperator:
    """One input, flat outputs concatenated.

    Inner factors that all parts share (the same objects) come out, gathers become one gather, and matrices
    that act on the whole input become one matrix.
    """
    if len(parts) == 1:
        return _reshaped(parts[0], parts[0].in_shape, (parts[0].out_size,))
    shared = _shared_inner(parts)
    if shared:
        outer = [_without_inner(part, len(shared)) for part in parts]
        return compose(stack(outer), Composed(shared) if len(shared) > 1 else shared[0])
    if all(isinstance(part, Gather | Reshape) for part in parts):
        index = torch.cat([_positions(part) for part in parts])
        return Gather(parts[0].in_shape, (len(index),), index)
    if all(isinstance(part, Dense) and part.matrix.shape == (part.out_size, part.in_size) for part in parts):
        matrix = torch.cat([part.matrix for part in parts if isinstance(part, Dense)])
        shape = parts[0].in_shape[-1:]
        dense = Dense(shape, (matrix.shape[0],), matrix, up_sum([part.error for part in parts]))
        return _reshaped(dense, parts[0].in_shape, dense.out_shape)
    return Stack(tuple(parts))


def _shared_inner(parts: Parts) -> tuple[LinearOperator, ...]:
    """The longest run of innermost factors that is the same in all parts, outermost first."""
    factors = [_factors(part) for part in parts]
    length = 0
    while all(length < len(own) for own in factors) and len({own[-1 - length] for own in factors}) == 1:
        length += 1
    return tuple(factors[0][len(factors[0]) - length :])


def _without_inner(part: LinearOperator, length: int) -> LinearOperator:
    factors = _factors(part)
    kept, inner = factors[: len(factors) - length], factors[len(factors) - length]
    if not kept:
        return Reshape(inner.out_shape, part.out_shape)
    return kept[0] if len(kept) == 1 else Composed(tuple(kept))


def _positions(part: LinearOperator) -> Tensor:
    return part.index if isinstance(part, Gather) else torch.arange(part.out_size)


def scale(operator: LinearOperator, c: float) -> LinearOperator:
    """c times the operator, folded into its outermost part where that has weights."""
    if c == 1.0:
        return operator
    weight = torch.tensor(c, dtype=torch.float64, device=operator.device)
    return compose(Diagonal(operator.out_shape, operator.out_shape, weight), operator)


def _factors(operator: LinearOperator) -> Parts:
    parts = operator.parts if isinstance(operator, Composed) else (operator,)
    return [part for part in parts if not isinstance(part, Reshape)]


def _terms(operator: LinearOperator) -> Parts:
    return operator.parts if isinstance(operator, Sum) else (operator,)


def _reshaped(operator: LinearOperator, in_shape: Shape, out_shape: Shape) -> LinearOperator:
    """The operator between other shapes of the same sizes."""
    if (operator.in_shape, operator.out_shape) == (in_shape, out_shape):
        return operator
    around = compose(Reshape(operator.out_shape, out_shape), operator)
    return compose(around, Reshape(in_shape, operator.in_shape))


def _with_shapes(part: LinearOperator, in_shape: Shape, out_shape: Shape) -> Parts:
    """The part between the given shapes, Reshapes added where its class ties it to its own."""
    if isinstance(part, Gather):
        return [replace(part, in_shape=in_shape, out_shape=out_shape)]
    before = [] if part.in_shape == in_shape else [Reshape(in_shape, part.in_shape)]
    after = [] if part.out_shape == out_shape else [Reshape(part.out_shape, out_shape)]
    return [*after, part, *before]


def _push(parts: list[LinearOperator], part: LinearOperator) -> None:
    """Appends an inner part, fused with what is there as far as the rules go."""
    if _moves_nothing(part):
        return
    fused = fuse(parts[-1], part) if parts else None
    if fused is None:
        parts.append(part)
        return
    parts.pop()
    for piece in fused:
        _push(parts, piece)


def _merge(terms: list[LinearOperator], term: LinearOperator) -> None:
    """Adds a term to a sum, into a term of the same kind where there is one."""
    term = _as_diagonal(term)
    rule = _ADDITION.get(type(term))
    for i, known in enumerate(map(_as_diagonal, terms)):
        merged = rule(known, term) if rule is not None and type(known) is type(term) else None
        if merged is not None:
            terms[i] = merged
            return
    terms.append(term)


def _as_diagonal(term: LinearOperator) -> LinearOperator:
    """The identity as a diagonal, which others can be added to."""
    if not isinstance(term, Reshape) or term.in_shape != term.out_shape:
        return term
    return Diagonal(term.in_shape, term.out_shape, torch.ones((), dtype=torch.float64))


def _added_error(a: LinearOperator, b: LinearOperator, first: Tensor, second: Tensor) -> float:
    """What the sum of the weights may be off by; nothing of its own where no entry was rounded."""
    own = [a.error, b.error]
    if bool(_rounded(first, second).any()):
        sizes = up_add(max(a.absolute_sums()), max(b.absolute_sums()))
        own.append(up_mul(2.0 * UNIT, sizes))
    return up_sum(own)


def _rounded(a: Tensor, b: Tensor) -> Tensor:
    """a + b - fl(a + b), exact where nothing overflows (Knuth's TwoSum), NaN otherwise."""
    total = a + b
    share = total - a
    return (a - (total - share)) + (b - share)


def _added(a: Tensor, b: Tensor, *, exact: bool) -> Tensor | None:
    """The sum without false zeros: two exact numbers add up to 0 in floating point only if they cancel exactly.

    None where it overflows; sums do not underflow.
    """
    total = a + b
    if not bool(torch.isfinite(total).all()):
        return None
    return total if exact else without_false_zeros(total, pattern(a) + pattern(b))


def _add_dense(a: Dense, b: Dense) -> LinearOperator | None:
    if (a.in_shape, a.out_shape, a.matrix.shape) != (b.in_shape, b.out_shape, b.matrix.shape):
        return None
    matrix = _added(a.matrix, b.matrix, exact=not (a.error or b.error))
    return None if matrix is None else replace(a, matrix=matrix, error=_added_error(a, b, a.matrix, b.matrix))


def _add_convolutions(a: Convolution, b: Convolution) -> LinearOperator | None:
    def settings(c: Convolution) -> tuple[Any, ...]:
        return c.in_shape, c.out_shape, c.kernel.shape, c.stride, c.padding, c.dilation, c.groups

    if settings(a) != settings(b):
        return None
    kernel = _added(a.kernel, b.kernel, exact=not (a.error or b.error))
    return None if kernel is None else replace(a, kernel=kernel, error=_added_error(a, b, a.kernel, b.kernel))


def _add_diagonals(a: Diagonal, b: Diagonal) -> LinearOperator | None:
    if a.in_shape != b.in_shape:
        return None
    first, second = torch.broadcast_tensors(a.weight, b.weight.to(a.weight.device))
    weight = _added(first, second, exact=not (a.error or b.error))
    return None if weight is None else replace(a, weight=weight, error=_added_error(a, b, first, second))


_ADDITION: dict[type, Callable[[Any, Any], LinearOperator | None]] = {
    Dense: _add_dense,
    Convolution: _add_convolutions,
    Diagonal: _add_diagonals,
}
