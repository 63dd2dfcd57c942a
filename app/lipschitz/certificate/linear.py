"""The linear maps whose norms a certificate claims, and the check of a claim.

A map too large for an explicit matrix is not checked apart: its norm is computed again by the service's own code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..network.nodes import Activation, Affine, Concat, Node
from ..operators import algebra
from ..operators.base import LinearOperator
from ..operators.composite import work
from ..operators.rounding import up_sum
from ..problem import Problem
from .balls import Array, Ball, stacked
from .matrices import TooLarge, array, matrix
from .norms import norm_test as matrix_test

MOST_ENTRIES = 2**25
MOST_WORK = 5e9
"""Multiplications of one matrix and its Gram matrix: a fraction of a second."""


Test = Callable[[float], str | None]
"""How the map is known to have a norm of at most that value; None where it is not."""


def norm_test(problem: Problem, node: Node, source: Node) -> Test:
    """The test of claims about the linear map from source to node; its matrix is made once."""
    operators = _operators(node, source)
    if operators and all(_fits(operator) for operator in operators):
        try:
            holds = matrix_test(_map(problem, node, source), problem.p)
        except TooLarge:
            pass
        else:
            return lambda value: "independent" if holds(value) else None
    again = _recomputed(problem, node, source)
    return lambda value: "recomputed" if again <= value else None


def check_work(node: Node, source: Node) -> float:
    """Multiplications, about, of the check of one claim."""
    return sum(_work(operator) for operator in _operators(node, source) if _fits(operator))


def _work(operator: LinearOperator) -> float:
    small, large = sorted((operator.in_size, operator.out_size))
    return 4.0 * small * (small * large + work(operator))


def _fits(operator: LinearOperator) -> bool:
    small, large = sorted((operator.in_size, operator.out_size))
    return small * large <= MOST_ENTRIES and 2.0 * small * (small * large + work(operator)) <= MOST_WORK


def _operators(node: Node, source: Node) -> Sequence[LinearOperator]:
    """The operators of an affine node, or of the affine node before an activation, that read the source."""
    affine = node.source if isinstance(node, Activation) else node
    if not isinstance(affine, Affine | Concat):
        return []
    return [term.operator for term in affine.terms if term.source is source]


def _map(problem: Problem, node: Node, source: Node) -> Ball:
    """The matrix on the domain: entries of the source that cannot vary do not count, slopes weigh the rows."""
    parts = [matrix(operator) for operator in _operators(node, source)]
    if isinstance(node, Concat):
        whole = stacked(parts)
    else:
        whole = parts[0]
        for part in parts[1:]:
            whole = whole + part
    if problem.local.bounded:
        whole = masked(whole, array(problem.local.intervals[source].varying))
    return whole.scaled_rows(array(problem.local.weights(node))) if isinstance(node, Activation) else whole


def masked(whole: Ball, columns: Array) -> Ball:
    """The matrix without the columns that are not marked: zeros there."""
    return Ball(np.where(columns, whole.middle, 0.0), np.where(columns, whole.radius, 0.0))


def _recomputed(problem: Problem, node: Node, source: Node) -> float:
    """The norm by the service's own code; infinite for a map that it computes in no such way."""
    operators = _operators(node, source)
    if isinstance(node, Activation) or not operators:
        return float("inf")
    if isinstance(node, Concat):
        return problem.norm_of(algebra.stack(list(operators))).upper
    return up_sum([problem.norm_of(operator).upper for operator in operators])
