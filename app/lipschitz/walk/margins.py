"""Certified constants of all differences f_i - f_j of two outputs, from AutoLip's walk.

Everything before the last affine map is common to all pairs; in that map the pair's row takes the place of the
matrix: |<a_i - a_j, v>| <= ||a_i - a_j||_q ||v||_p with 1/p + 1/q = 1. After any other last step |y_i - y_j| is at
most ||e_i - e_j||_q ||y||_p. Constants come as a symmetric `(m, m)` matrix with zeros on its diagonal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ...contract.domain import Margin
from ...contract.options import NO_OPTIONS, NoOptions, Options, Searching
from ..errors import MethodSkipped
from ..network.nodes import Affine, Node
from ..network.target import with_target
from ..operators.base import LinearOperator
from ..operators.composite import leaves
from ..operators.dense_norm import normalised
from ..operators.materialise import moderate
from ..operators.norm import Norm
from ..operators.rounding import gamma, up_add, up_mul, up_sqrt
from ..operators.scaling import raised, times
from ..problem import Details, Estimate, Problem
from .walk import walk

Method = Callable[[Problem, Any], Estimate]
"""A method, told by options of its own type."""

PAIR_LENGTH: dict[Norm, float] = {"1": 1.0, "2": up_sqrt(2.0), "inf": 2.0}
"""||e_i - e_j||_q in the dual norm: how much larger than a vector the difference of two entries can be."""

_UNDERFLOW = 2.0**-500
"""More than squares that underflow take from the norm of entries of at most 2."""

FEW = 256
"""With more outputs the rows of the last map are not told apart: pairs grow with their square."""

ATTACKED = 3
"""Pairs that a lower bound is looked for on."""


def walked(problem: Problem) -> Tensor:
    """AutoLip's constants of the pairs, `(m, m)`."""
    steps = walk(problem.network, problem.p, lambda operator: problem.norm_of(operator).upper, problem.local)
    return after_last(problem, problem.network.output, {step.node: step.cumulative for step in steps})


def after_last(problem: Problem, last: Node, constants: Mapping[Node, float]) -> Tensor:
    """The pairs' constants from AutoLip's of the nodes up to `last`, `(m, m)`."""
    whole = uniform(last.size, up_mul(PAIR_LENGTH[problem.p], constants[last]))
    if not isinstance(last, Affine) or last.size > FEW:
        return whole
    total = torch.zeros_like(whole)
    for term in last.terms:
        operator = problem.local.narrowed(term.operator, term.source)
        total += times(row_differences(problem, operator), constants[term.source])
    return torch.minimum(whole, total * (1.0 + gamma(len(last.terms) + 2)))


def uniform(size: int, constant: float) -> Tensor:
    """The same constant for every pair."""
    return torch.full((size, size), constant, dtype=torch.float64).fill_diagonal_(0.0)


def row_differences(problem: Problem, operator: LinearOperator) -> Tensor:
    """Upper bounds of ||a_i - a_j||_q for the exact operator's rows, `(m, m)`."""
    if not moderate(operator):
        return uniform(operator.out_size, up_mul(PAIR_LENGTH[problem.p], problem.norm_of(operator).upper))
    whole = operator.as_matrix()
    matrix, exponent = normalised(whole)
    same = torch.stack([(whole == row).all(1) for row in whole])
    lengths = torch.stack([_dual_lengths(matrix - row, problem.p) for row in matrix]).masked_fill(same, 0.0)
    return (raised(lengths, exponent) + _lost(operator, problem.p)).fill_diagonal_(0.0)


def _dual_lengths(rows: Tensor, p: Norm) -> Tensor:
    """Upper bounds of the rows' dual norms, for entries of at most 2, each rounded once before."""
    order = {"1": math.inf, "2": 2.0, "inf": 1.0}[p]
    lengths: Tensor = torch.linalg.vector_norm(rows, order, dim=1)
    return lengths * (1.0 + 2.0 * gamma(rows.shape[1] + 4)) + _UNDERFLOW


def _lost(operator: LinearOperator, p: Norm) -> float:
    """What the stored matrix may be off by in the difference of two rows."""
    products = gamma(operator.depth + 1) if len(leaves(operator)) > 1 else 0.0
    return up_mul(PAIR_LENGTH[p], up_add(operator.error, up_mul(products, max(operator.absolute_sums()))))


def autolip_margins(problem: Problem, options: NoOptions = NO_OPTIONS) -> Estimate:
    """The largest of the pairs' constants by the walk; takes no options."""
    return estimate("autolip", walked(problem), {})


def estimate(method: str, constants: Tensor, details: Details) -> Estimate:
    """The largest constant, with `[i, j, constant]` for every pair in the details."""
    pairs = [
        [i, j, constant if math.isfinite(constant) else None]
        for i, row in enumerate(constants.tolist())
        for j, constant in enumerate(row)
        if i < j
    ]
    return Estimate(method, float(constants.max()), details=details | {"pairs": pairs})


def of_steepest_pairs(method: Method) -> Method:
    """A lower bound's method on the pairs that AutoLip bounds worst, one after another; the best witness counts."""

    def run(problem: Problem, options: Searching) -> Estimate:
        constants = walked(problem)
        pairs = torch.triu_indices(len(constants), len(constants), offset=1)
        steepest = constants[pairs[0], pairs[1]].topk(min(ATTACKED, pairs.shape[1])).indices
        chosen = pairs[:, steepest].T.tolist()
        shared = options.model_copy(update={"seconds": options.seconds / len(chosen)})
        estimates = [_on_pair(problem, method, shared, i, j) for i, j in chosen]
        return max(estimates, key=lambda one: one.value or 0.0)

    return run


def _on_pair(problem: Problem, method: Method, options: Options, i: int, j: int) -> Estimate:
    target = Margin(kind="margin", i=i, j=j)
    estimate = method(replace(problem, network=with_target(problem.network, target), target=target), options)
    return replace(estimate, details=estimate.details | {"pair": [i, j]})


def no_margins(name: str) -> Method:
    """What a method answers that cannot bound all pairs at once."""

    def refuse(problem: Problem, options: Options) -> Estimate:
        raise MethodSkipped(f"{name} does not bound all pairs at once: autolip and lipsdp do; or ask for one margin")

    return refuse
