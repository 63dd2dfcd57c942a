"""`methods: auto`: which methods are worth their time, given what the earlier ones found.

From cheap to tight: norms along the graph, a witness, the semidefinite bound, pairs of layers where that left something
open, and branch and bound for networks small enough to finish; in the end a deep search for a steeper witness. It stops
when the bracket is closed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .bracket import bracket
from .certificate.work import least_work
from .deadline import Deadline
from .exact.by_parts import MOST_OPEN, is_searchable
from .network.nodes import Activation
from .problem import Estimate, Problem
from .request import Request

CLOSED = 1e-6
"""Relative gap at which a bracket counts as closed."""

_ALWAYS = ("autolip",)
WEIGHTS = {"autolip": 8.0, "lipsdp": 6.0, "exact": 6.0, "seqlip": 4.0, "jacobian": 4.0, "deep search": 4.0}
"""How the time that is left is shared among the methods to come, 1 if not named. What one leaves is the next one's."""
KEPT = 0.05
"""Part of the time that methods leave for the certificate and the report."""
MOST_KEPT = 0.4
"""The same at most, whatever the certificate of the best bound so far will take."""

DEEP_ROUNDS = 40
"""Rounds of the deep search for attained values that `auto` ends with, where the request asks for none itself."""
DEEP_SEARCH = "deep search"
WORTH = 1e-3
"""Relative gap from which the deep search is worth its time."""

FEW_NEURONS = 200
FEW_INPUTS = 64


def reason_to_stop(problem: Problem, name: str, before: Sequence[Estimate]) -> str | None:
    """Why this method is not worth running after those before; None when it is."""
    if name in _ALWAYS:
        return None
    gap = WORTH if name == DEEP_SEARCH else CLOSED
    if _is_closed(before, gap):
        return f"the bracket is closed to {gap:g} already"
    if problem.deadline.passed:
        return "the time budget is spent"
    if name == "jacobian" and not problem.local.bounded and problem.p == "2":
        return "on the whole space products of norms are closer in the 2-norm; ask for it by name"
    if name == "seqlip":
        return _after_lipsdp(problem, before)
    return _few_phases(problem) if name == "exact" else None


def to_come(problem: Problem, request: Request, position: int, before: Sequence[Estimate]) -> Sequence[str]:
    """The methods from that position on; of `auto` without those that are known not to run, and with its end."""
    if not request.is_auto:
        return request.methods[position:]
    first, *rest = request.methods[position:]
    if before:  # ranges, on which this depends, are known from then on
        rest = [name for name in rest if reason_to_stop(problem, name, before) is None]
    return [first, *rest, DEEP_SEARCH]


def allotted(problem: Problem, rest: Sequence[str], before: Sequence[Estimate]) -> Deadline:
    """Until when the first of the methods `rest` may work, so that the others and the certificate have their share."""
    left = problem.deadline.left
    if math.isinf(left):
        return problem.deadline
    for_certificate = min(problem.deadline.pace.seconds(least_work(before)), MOST_KEPT * left)
    weights = [WEIGHTS.get(name, 1.0) for name in rest]
    return problem.deadline.before(max(for_certificate, KEPT * left)).share(weights[0] / sum(weights))


def _is_closed(before: Sequence[Estimate], gap: float) -> bool:
    upper, lower = bracket(list(before))
    if upper is None or lower is None or upper.value is None or lower.witness is None:
        return False
    return upper.value <= lower.witness.value * (1.0 + gap)


def _after_lipsdp(problem: Problem, before: Sequence[Estimate]) -> str | None:
    """Bounds of pairs can beat that of all layers together only where there is one pair."""
    if problem.q is None and problem.p != "2":
        return f"SeqLip bounds the 2-norm, not the {problem.p}-norm"
    estimate = next((e for e in before if e.method == "lipsdp" and e.status == "ok"), None)
    whole = estimate is not None and estimate.details["whole"]
    pairs = sum(isinstance(node, Activation) for node in problem.network.nodes)
    return "lipsdp has bounded all layers together" if whole and pairs > 1 else None


def _few_phases(problem: Problem) -> str | None:
    """Branch and bound on many neurons would spend the whole budget for nothing."""
    neurons = sum(node.size for node in problem.network.nodes if isinstance(node, Activation))
    if neurons <= FEW_NEURONS and problem.network.input.size <= FEW_INPUTS:
        return None
    if is_searchable(problem):
        return None
    limits = f"{FEW_NEURONS} neurons and {FEW_INPUTS} inputs, or {MOST_OPEN} neurons that are open on the domain"
    return f"auto leaves exact to networks of at most {limits}; ask for it by name"
