"""The baseline of [VS18]: AutoLip's walk with Frobenius norms, which are never below the operator norms."""

from __future__ import annotations

from ...contract.options import NO_OPTIONS, NoOptions
from ..errors import MethodSkipped
from ..operators.frobenius import frobenius as frobenius_norm
from ..problem import Estimate, Problem
from .walk import walk


def frobenius(problem: Problem, options: NoOptions = NO_OPTIONS) -> Estimate:
    """The certified upper bound, for the 2-norm only; takes no options."""
    if problem.p != "2":
        raise MethodSkipped(f"the Frobenius norm bounds the 2-norm, not the {problem.p}-norm: ask for autolip")
    steps = walk(problem.network, problem.p, lambda operator: frobenius_norm(operator, problem.deadline), problem.local)
    return Estimate("frobenius", steps[-1].cumulative)
