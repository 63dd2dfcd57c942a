"""The norms of a network's operators: all of them quickly, then one after another as well as they can be proved."""

from __future__ import annotations

import math
from functools import singledispatch

from ..deadline import Deadline
from ..pace import CHOLESKY
from .base import LinearOperator
from .composite import Adjoint, Composed, Stack, Sum
from .convolution import Convolution
from .dense import Dense
from .materialise import affordable
from .norm import Norm, NormBound, norm, quick


class Norms:
    """Every operator's bound in one norm, computed once; those that were only looked at are `open`."""

    def __init__(self) -> None:
        self._bounds: dict[LinearOperator, NormBound] = {}
        self._open: set[LinearOperator] = set()

    def glance(self, operator: LinearOperator, p: Norm) -> NormBound:
        """What is known, or the quick bound."""
        if operator not in self._bounds:
            self._bounds[operator] = quick(operator, p)
            self._open.add(operator)
        return self._bounds[operator]

    def of(self, operator: LinearOperator, p: Norm, deadline: Deadline) -> NormBound:
        """The best bound that the deadline allows, tried once."""
        known = self.glance(operator, p)
        if operator not in self._open or deadline.passed:
            return known
        self._open.discard(operator)
        value = norm(operator, p, deadline)
        self._bounds[operator] = NormBound(min(value.upper, known.upper), value.lower, value.method)
        return self._bounds[operator]

    def is_open(self, operator: LinearOperator) -> bool:
        """Whether only the quick bound is known."""
        return operator in self._open

    def open(self) -> list[LinearOperator]:
        """Operators with quick bounds only, those first whose proofs promise most for their time."""
        return sorted(self._open, key=promise, reverse=True)


def promise(operator: LinearOperator) -> float:
    """Expected gain over the work of a proof.

    A Frobenius norm exceeds the 2-norm by about the root of the rank: that is what the logarithm may fall by.
    """
    rank = min(operator.in_size, operator.out_size)
    return math.log(2.0 + rank) / (1.0 + proof_work(operator))


@singledispatch
def proof_work(operator: LinearOperator) -> float:  # noqa: ARG001 - most kinds are exact at once
    """Multiplications, about, of the best proof of the norm."""
    return 0.0


@proof_work.register
def _(operator: Dense) -> float:
    small, large = sorted(operator.matrix.shape[-2:])
    return operator.matrix.shape[:-2].numel() * float(small) ** 2 * (large + CHOLESKY * small)


@proof_work.register
def _(operator: Convolution) -> float:
    side = min(operator.kernel.shape[0] // operator.groups, operator.kernel.shape[1])
    frequencies = math.prod(operator.out_shape[2:]) * operator.groups
    taps = math.prod(operator.taps)
    return frequencies * float(side) ** 2 * (2.0 ** operator.kernel[0, 0].ndim * taps + 4.0 * CHOLESKY * side)


@proof_work.register
def _(operator: Adjoint) -> float:
    return proof_work(operator.operator)


@proof_work.register(Composed)
@proof_work.register(Sum)
@proof_work.register(Stack)
def _(operator: Composed | Sum | Stack) -> float:
    small, large = sorted((operator.in_size, operator.out_size))
    whole = float(small) ** 2 * (large + CHOLESKY * small) if affordable(operator) else 0.0
    return whole + sum(proof_work(part) for part in operator.parts)
