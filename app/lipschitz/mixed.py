"""Upper bounds from one norm to another: by way of pairs of norms that a method serves.

||f(x) - f(y)||_q <= b ||f(x) - f(y)||_s <= b L_rs ||x - y||_r <= a b L_rs ||x - y||_p, with a and b how much longer
vectors are in the other norm. LipSDP serves most pairs as they are (`lipsdp.NATIVE`); all else has one norm for both.
"""

from __future__ import annotations

from dataclasses import replace

from ..contract.options import Options
from .bracket import info_of
from .errors import MethodSkipped
from .lipsdp.lipsdp import NATIVE
from .lower.attained import attained
from .operators.norm import Norm
from .operators.rounding import up_mul
from .problem import Estimate, Problem, Witness
from .walk.margins import Method

SAME: tuple[tuple[Norm, Norm], ...] = (("2", "2"), ("inf", "inf"), ("1", "1"))


def through(problem: Problem, name: str, method: Method, options: Options) -> Estimate:
    """The least bound over the pairs of norms that the method serves; MethodSkipped where it serves none."""
    if info_of(name).kind == "estimate":
        raise MethodSkipped(f"{name} estimates the constant in one norm for both spaces, not from one to another")
    ways = _ways(problem, name)
    best, refusal = Estimate(name, None), MethodSkipped(f"{name} serves no pair of norms that bounds this one")
    for left, way in enumerate(ways):
        mine = replace(problem.in_norms(*way), deadline=problem.deadline.share(1.0 / (len(ways) - left)))
        try:
            bound = _carried(problem, method(mine, options), way)
        except MethodSkipped as reason:
            refusal = reason
            continue
        if best.value is None or (bound.value is not None and bound.value < best.value):
            best = bound
        if way == (problem.p, problem.output_norm):
            break
    if best.value is None and best.entries is None:
        raise refusal
    return best


def _ways(problem: Problem, name: str) -> list[tuple[Norm, Norm]]:
    """Pairs of norms, those with the least factors first; a third is seldom the best."""
    native = NATIVE if name == "lipsdp" else ()
    asked = problem.p, problem.output_norm
    ranked = sorted((*native, *SAME), key=lambda way: (way != asked, problem.carried(*way)))
    return ranked[:3]


def _carried(problem: Problem, estimate: Estimate, way: tuple[Norm, Norm]) -> Estimate:
    """The bound and the witness in the problem's own norms."""
    if estimate.value is None:
        return estimate
    more = problem.carried(*way)
    witness = estimate.witness
    if witness is not None:
        slope = attained(problem, witness.x, witness.y)
        witness = Witness(witness.x, witness.y, slope.value, slope.error)
    details = estimate.details | {"through": {"input": way[0], "output": way[1], "factor": more}}
    return replace(estimate, value=up_mul(more, estimate.value), details=details, witness=witness, through=way)
