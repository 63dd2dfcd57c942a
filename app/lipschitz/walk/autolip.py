"""AutoLip [VS18, Algorithm 1] on any graph: certified norms of fused affine blocks along the walk.

The walk is at hand at any time: first with norms that cost a look at the weights, then with norms proved one after
another, those first that promise most for their time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...contract.options import NO_OPTIONS, NoOptions
from ..operators.base import LinearOperator
from ..problem import Estimate, Problem
from .claims import walk_claim
from .walk import Step, walk

NEWS_S = 0.5
"""Seconds between two events."""
WALK_COST = 20.0
"""They come so rarely that the walks for them take no more than this part of the time."""


def autolip(problem: Problem, options: NoOptions = NO_OPTIONS) -> Estimate:
    """The certified upper bound, the best that the deadline allows; takes no options."""
    prove_norms(problem)
    steps = walk(problem.network, problem.p, lambda operator: problem.norm_of(operator).upper, problem.local)
    first, *others = problem.network.nodes
    claims = [walk_claim(problem, first, others)] if others else []
    quick = sum(problem.norms.is_open(operator) for operator in _operators(steps))
    details = {"blocks": len(steps) - 1} | ({"norms_left_quick": quick} if quick else {})
    return Estimate("autolip", steps[-1].cumulative, details=details, claims=claims)


def prove_norms(problem: Problem) -> None:
    """Prove the norms that the walk asks for, until the deadline; the bound as it falls is told."""
    clock, every = problem.deadline.clock, NEWS_S
    _tell(problem, _glanced(problem), "quick norms")
    waiting, reported = problem.norms.open(), clock()
    for count, operator in enumerate(waiting):
        if problem.deadline.passed:
            break
        problem.norm_of(operator)
        now = clock()
        if now - reported >= every:
            _tell(problem, _glanced(problem), f"norm {count + 1} of {len(waiting)}")
            reported = clock()
            every = max(NEWS_S, WALK_COST * (reported - now))


def _glanced(problem: Problem) -> list[Step]:
    """The walk with what is known of the norms."""
    glance = problem.norms.glance
    return walk(problem.network, problem.p, lambda operator: glance(operator, problem.p).upper, problem.local)


def _tell(problem: Problem, steps: Sequence[Step], phase: str) -> None:
    """News of the bound, as far as JSON can carry it."""
    value = steps[-1].cumulative
    news = {"upper": value} if math.isfinite(value) else {}
    problem.progress({"method": "autolip", "phase": phase, **news})


def _operators(steps: Sequence[Step]) -> set[LinearOperator]:
    return {branch.operator for step in steps for branch in step.branches if branch.operator is not None}
