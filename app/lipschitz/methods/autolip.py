"""AutoLip [VS18, Algorithm 1] on any graph: certified norms of fused affine blocks along the walk."""

from __future__ import annotations

from typing import Any

from app.lipschitz.methods.claims import walk_claim
from app.lipschitz.methods.walk import walk
from app.lipschitz.problem import Estimate, Problem


def autolip(problem: Problem, options: dict[str, Any]) -> Estimate:
    """The certified upper bound; takes no options."""
    steps = walk(problem.network, problem.p, lambda operator: problem.norm_of(operator).upper, problem.local)
    first, *others = problem.network.nodes
    claims = [walk_claim(problem, first, others)] if others else []
    return Estimate("autolip", steps[-1].cumulative, details={"blocks": len(steps) - 1}, claims=claims)
