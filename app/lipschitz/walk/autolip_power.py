"""AutoLip as published: every norm by the power method [VS18, Algorithm 2].

The power method approaches a norm from below, so the product is an estimate and no bound.
"""

from __future__ import annotations

from ...contract.options import AutolipPowerOptions
from ..errors import MethodSkipped
from ..operators.power import power_method
from ..problem import Estimate, Problem
from .walk import walk


def autolip_power(problem: Problem, options: AutolipPowerOptions) -> Estimate:
    """The estimate after `iterations` power iterations per affine block."""
    if problem.p != "2":
        raise MethodSkipped(f"the power method estimates the 2-norm, not the {problem.p}-norm: ask for autolip")
    iterations = options.iterations
    steps = walk(problem.network, problem.p, lambda operator: power_method(operator, iterations), problem.local)
    return Estimate("autolip_power", steps[-1].cumulative, details={"iterations": iterations})
