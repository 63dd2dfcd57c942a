"""Certified operator norms that cost one look at the weights: where proofs of the best ones do not fit the time.

For a layer ||A||_2 <= sqrt(||A||_1 ||A||_inf) (Hoelder) and ||A||_2 <= ||A||_F; products, sums and stacks follow their
parts. Scaled isometries are exact.
"""

from __future__ import annotations

from functools import singledispatch

from .base import LinearOperator
from .composite import Adjoint, Composed, Stack, Sum
from .diagonal import Diagonal
from .frobenius import frobenius
from .gather import Gather
from .isometry import peeled
from .reshape import Reshape
from .rounding import up_add, up_hypot, up_mul, up_product, up_sqrt, up_sum


def quick_norm(operator: LinearOperator, p: str) -> float:
    """A certified upper bound of the exact operator's p-norm; the work is that of reading the weights once."""
    if min(operator.in_size, operator.out_size) == 0:
        return 0.0
    if p == "2":
        return quick_spectral(operator)
    return up_add(operator.absolute_sums()[0 if p == "1" else 1], operator.error)


def hoelder(operator: LinearOperator) -> float:
    """sqrt(||A||_1 ||A||_inf) of the exact operator."""
    columns, rows = operator.absolute_sums()
    return up_add(up_mul(up_sqrt(columns), up_sqrt(rows)), operator.error)


@singledispatch
def quick_spectral(operator: LinearOperator) -> float:
    """The same for the 2-norm: a layer's."""
    return min(hoelder(operator), frobenius(operator))


@quick_spectral.register
def _(operator: Reshape) -> float:  # noqa: ARG001 - one answer for all
    return 1.0


@quick_spectral.register
def _(operator: Gather) -> float:
    return up_sqrt(float(operator.multiplicity[1]))


@quick_spectral.register
def _(operator: Diagonal) -> float:
    return up_add(operator.absolute_sums()[0], operator.error)


@quick_spectral.register
def _(operator: Adjoint) -> float:
    return quick_spectral(operator.operator)


@quick_spectral.register
def _(operator: Composed) -> float:
    factor, parts = peeled(operator.parts)
    product = up_product([factor, *(quick_spectral(part) for part in parts)])
    return min(product, hoelder(operator))


@quick_spectral.register
def _(operator: Sum) -> float:
    return min(up_sum([quick_spectral(part) for part in operator.parts]), hoelder(operator))


@quick_spectral.register
def _(operator: Stack) -> float:
    return min(up_hypot([quick_spectral(part) for part in operator.parts]), hoelder(operator))
