"""Transposes that keep the structure open to simplification."""

from __future__ import annotations

from functools import singledispatch

import torch

from .base import LinearOperator
from .composite import Adjoint, Composed, Stack, Sum
from .dense import Dense
from .diagonal import Diagonal
from .gather import Gather
from .reshape import Reshape


@singledispatch
def adjoint(operator: LinearOperator) -> LinearOperator:
    """The transpose, without an `Adjoint` around it where the class has one of its own."""
    return Adjoint(operator)


@adjoint.register
def _(operator: Adjoint) -> LinearOperator:
    return operator.operator


@adjoint.register
def _(operator: Reshape) -> LinearOperator:
    return Reshape(operator.out_shape, operator.in_shape)


@adjoint.register
def _(operator: Diagonal) -> LinearOperator:
    return operator


@adjoint.register
def _(operator: Dense) -> LinearOperator:
    return Dense(operator.out_shape, operator.in_shape, operator.matrix.mT, operator.error)


@adjoint.register
def _(operator: Composed) -> LinearOperator:
    return Composed(tuple(adjoint(part) for part in reversed(operator.parts)))


@adjoint.register
def _(operator: Sum) -> LinearOperator:
    return Sum(tuple(adjoint(part) for part in operator.parts))


@adjoint.register
def _(operator: Stack) -> LinearOperator:
    """The sum of the parts' transposes, each of its own block."""
    ends = torch.tensor([part.out_size for part in operator.parts]).cumsum(0).tolist()
    blocks = [torch.arange(end - part.out_size, end) for part, end in zip(operator.parts, ends, strict=True)]
    size = operator.out_size
    return Sum(
        tuple(
            Composed((adjoint(part), Gather((size,), (len(block),), block)))
            for part, block in zip(operator.parts, blocks, strict=True)
        )
    )
