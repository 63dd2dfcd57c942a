"""Parts of a product that only scale: A^T A = c^2 I when outermost, A A^T = c^2 I when innermost."""

from __future__ import annotations

import math
from functools import singledispatch

from .base import LinearOperator
from .composite import Adjoint
from .diagonal import Diagonal
from .gather import Gather
from .reshape import Reshape
from .rounding import up_mul, up_sqrt


@singledispatch
def isometry(operator: LinearOperator) -> float | None:  # noqa: ARG001 - the default knows of none
    """c >= 0, rounded up, with ||A x|| = c ||x|| for all x; None when that is not known."""
    return None


@singledispatch
def coisometry(operator: LinearOperator) -> float | None:  # noqa: ARG001 - the default knows of none
    """c >= 0, rounded up, with ||A^T y|| = c ||y|| for all y; None when that is not known."""
    return None


@isometry.register
@coisometry.register
def _(operator: Reshape) -> float | None:  # noqa: ARG001 - one answer for all
    return 1.0


@isometry.register
@coisometry.register
def _(operator: Diagonal) -> float | None:
    # An error would have to be added after the factor: only exact constants are peeled.
    if operator.error or operator.weight.numel() != 1:
        return None
    return abs(float(operator.weight))


@isometry.register
def _(operator: Gather) -> float | None:
    least, most = operator.multiplicity
    return up_sqrt(float(most)) if least == most else None


@coisometry.register
def _(operator: Gather) -> float | None:
    return 1.0 if operator.multiplicity[1] == 1 and not operator.has_zeros else None


@isometry.register
def _(operator: Adjoint) -> float | None:
    return coisometry(operator.operator)


@coisometry.register
def _(operator: Adjoint) -> float | None:
    return isometry(operator.operator)


def peeled(parts: tuple[LinearOperator, ...]) -> tuple[float, tuple[LinearOperator, ...]]:
    """(c, rest) with ||parts[0] ... parts[-1]|| = c ||product of rest||; `rest` may be empty."""
    factor = 1.0
    while parts and (scale := isometry(parts[0])) is not None:
        factor, parts = up_mul(factor, scale), parts[1:]
    while parts and (scale := coisometry(parts[-1])) is not None:
        factor, parts = up_mul(factor, scale), parts[:-1]
    return factor, parts


def attained(factor: float) -> float:
    """A value not above the exact factor of `peeled`, from its upward-rounded one."""
    return factor if factor in (0.0, 1.0) else math.nextafter(factor * (1.0 - 2.0**-48), 0.0)
