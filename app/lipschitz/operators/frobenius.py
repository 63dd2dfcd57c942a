"""Upper bounds of Frobenius norms, exact up to rounding for single layers."""

from __future__ import annotations

import math
from functools import singledispatch

import torch

from ..deadline import NEVER, Deadline, OutOfTime
from .base import LinearOperator
from .composite import Adjoint, Composed, Stack, Sum
from .convolution import Convolution
from .dense import Dense
from .dense_norm import normalised
from .diagonal import Diagonal
from .gather import Gather
from .materialise import affordable, matrix_with_error, moderate
from .reshape import Reshape
from .rounding import up_add, up_hypot, up_ldexp, up_mul, up_product, up_sqrt, up_sum, widened


def frobenius(operator: LinearOperator, deadline: Deadline = NEVER) -> float:
    """Certified upper bound of ||A||_F for the exact operator; at least its 2-norm.

    A composite small enough is materialised while there is time; otherwise products, sums and stacks of parts.
    The error bounds 2-norms, so it enters with the root of the rank.
    """
    rank = float(min(operator.in_size, operator.out_size))
    return up_add(_stored(operator, deadline), up_mul(operator.error, up_sqrt(rank)))


def weighted_root_of_squares(weight: torch.Tensor, counts: torch.Tensor) -> float:
    """sqrt(sum counts * weight^2), rounded up, free of overflow."""
    scaled, exponent = normalised(weight)
    total = float((scaled.square() * counts).sum())
    return up_ldexp(up_sqrt(widened(total, weight.numel() + 4)), exponent)


def _explicit(operator: LinearOperator, deadline: Deadline) -> float:
    if deadline.passed or not (affordable(operator) and moderate(operator)):
        return math.inf
    try:
        matrix, error = matrix_with_error(operator, deadline)
    except OutOfTime:
        return math.inf
    rank = float(min(matrix.shape))
    own = weighted_root_of_squares(matrix, matrix.new_ones(()))
    return up_add(own, up_mul(error, up_sqrt(rank)))


@singledispatch
def _stored(operator: LinearOperator, deadline: Deadline) -> float:
    raise NotImplementedError(f"no Frobenius norm for {type(operator).__name__}")


@_stored.register
def _(operator: Reshape, deadline: Deadline) -> float:  # noqa: ARG001 - composites use it
    return up_sqrt(float(operator.in_size))


@_stored.register
def _(operator: Dense, deadline: Deadline) -> float:  # noqa: ARG001 - composites use it
    copies = operator.in_size // max(1, math.prod(operator.matrix.shape[:-2]) * operator.matrix.shape[-1])
    return weighted_root_of_squares(operator.matrix, operator.matrix.new_full((), copies))


@_stored.register
def _(operator: Diagonal, deadline: Deadline) -> float:  # noqa: ARG001 - composites use it
    copies = operator.in_size // max(1, operator.weight.numel())
    return weighted_root_of_squares(operator.weight, operator.weight.new_full((), copies))


@_stored.register
def _(operator: Gather, deadline: Deadline) -> float:  # noqa: ARG001 - composites use it
    return up_sqrt(float((operator.index >= 0).sum()))


@_stored.register
def _(operator: Convolution, deadline: Deadline) -> float:  # noqa: ARG001 - composites use it
    c = operator
    counts = c.kernel.new_full((), c.in_shape[0])
    dims = zip(c.in_shape[2:], c.out_shape[2:], c.taps, c.stride, c.padding, c.dilation, strict=True)
    for n, m, k, s, (lo, _), d in dims:
        outputs, taps = torch.arange(m, device=c.device), torch.arange(k, device=c.device)
        read = s * outputs[None, :] + d * taps[:, None] - lo
        counts = counts.unsqueeze(-1) * ((read >= 0) & (read < n)).sum(1)
    return weighted_root_of_squares(c.kernel, counts)


@_stored.register
def _(operator: Adjoint, deadline: Deadline) -> float:
    return _stored(operator.operator, deadline)


@_stored.register
def _(operator: Composed, deadline: Deadline) -> float:
    return min(up_product([frobenius(part, deadline) for part in operator.parts]), _explicit(operator, deadline))


@_stored.register
def _(operator: Sum, deadline: Deadline) -> float:
    return min(up_sum([frobenius(part, deadline) for part in operator.parts]), _explicit(operator, deadline))


@_stored.register
def _(operator: Stack, deadline: Deadline) -> float:
    return up_hypot([frobenius(part, deadline) for part in operator.parts])
