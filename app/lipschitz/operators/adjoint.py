"""Transposes that keep the structure open to simplification."""

from __future__ import annotations

from functools import singledispatch

from app.lipschitz.operators.base import LinearOperator
from app.lipschitz.operators.composite import Adjoint, Composed
from app.lipschitz.operators.dense import Dense
from app.lipschitz.operators.diagonal import Diagonal
from app.lipschitz.operators.reshape import Reshape


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
