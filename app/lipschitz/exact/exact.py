"""The exact constant of a small piecewise linear network, by an anytime search of its phases.

The constant on a convex domain with an interior is the largest ||J|| over the activation patterns that an open set of
the domain takes (Jordan & Dimakis, NeurIPS 2020; Bhowmick et al., LipBaB, 2021). Both ends of the bracket are valid
whenever the search is stopped: the upper one is certified, the lower one is attained by a pair of points. A ball of the
1- or 2-norm counts as the box around it when regions are excluded, so its bracket may stay open.

With one or two inputs all regions are enumerated (`phases.enumeration`), as long as half of the time allows; other
networks, and those with too many regions, are searched by branch and bound (`phases.search`). On a small domain most
neurons have one slope: where at most 16 have not, all vertices bound a network of any size (`vertices`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from app.contract.options import ExactOptions
from app.lipschitz.bracket import value_of
from app.lipschitz.claims import Claim
from app.lipschitz.deadline import Deadline, Laps, OutOfTime
from app.lipschitz.device import on_cpu
from app.lipschitz.domain import Box, Domain
from app.lipschitz.errors import MethodSkipped
from app.lipschitz.exact.phases.anytime import Anytime
from app.lipschitz.exact.phases.bounding import Bounding
from app.lipschitz.exact.phases.bounds import enclosing_work
from app.lipschitz.exact.phases.claim import phase_claim
from app.lipschitz.exact.phases.emptiness import Proofs, box_rows
from app.lipschitz.exact.phases.enumeration import MOST_INPUTS, Enumeration
from app.lipschitz.exact.phases.incumbent import Incumbent, Reached
from app.lipschitz.exact.phases.model import Model, stacked
from app.lipschitz.exact.phases.search import Search
from app.lipschitz.exact.phases.trail import Trail
from app.lipschitz.exact.vertices import by_vertices
from app.lipschitz.problem import Estimate, Problem

VERTICES = 0.5
"""Part of the time that all vertices may take."""
SEARCHED_INPUTS = 64
"""With more inputs, regions are too hard to tell empty: the vertices' bound is the answer where there is one."""
STARTING = 10.0
"""Enclosures that are needed before there is any bound."""
SAMPLING = 0.2
"""Part of the time that the first random points may take."""
RESERVE = 0.02
"""Part of the time that is left for the report."""
TREE_S = 1.0
"""Seconds that the certificate's tree may take beyond what the search took: the constant is known by then."""


def exact(problem: Problem, options: ExactOptions) -> Estimate:
    """The search, and on a bounded domain with few open neurons all vertices of their slopes: the lesser bound.

    MethodSkipped names the node that is not piecewise linear, or whose weights were folded in floating point, where the
    open neurons are too many besides.
    """
    _require_interior(problem.domain)
    with on_cpu():
        folded = by_vertices(problem, problem.deadline.within(options.seconds).share(VERTICES))
    if folded is not None and problem.network.input.size > SEARCHED_INPUTS:
        return folded
    if folded is None:
        return _searched(problem, options)
    try:
        found = _searched(problem, options)
    except (MethodSkipped, OutOfTime):
        return folded
    if found.details["status"] != "deadline" or value_of(found) <= value_of(folded):
        return found
    return replace(folded, witness=found.witness, details=folded.details | {"gap": _gap(folded, found)})


def _gap(upper: Estimate, lower: Estimate) -> float | None:
    known = lower.witness is not None and lower.witness.value > 0.0 and upper.value is not None
    return upper.value / lower.witness.value - 1.0 if known else None  # type: ignore[operator, union-attr]


def _searched(problem: Problem, options: ExactOptions) -> Estimate:
    """Search until the bracket's relative gap is `gap` or `seconds` are over."""
    trail = Trail(problem.progress)
    deadline = problem.deadline_within(options.seconds).share(1.0 - RESERVE)
    begun = deadline.clock()
    incumbent, upper, gap = Incumbent(problem), math.inf, options.gap
    with on_cpu(), np.errstate(all="ignore"):
        model = stacked(problem.network)
        if not model.layers:
            raise MethodSkipped("no activation stands in the network: it is affine, and autolip bounds its norm")
        deadline.begin(STARTING * enclosing_work(model))
        incumbent.start(model, deadline.share(SAMPLING))
        for search, until in _searches(problem, model, incumbent, gap, deadline):
            laps = Laps(until)
            while not search.finished and not laps.is_last():
                trail.record(min(upper, search.upper), incumbent.value)
                search.step()
            upper = min(upper, search.upper)
            if search.finished:
                break
    trail.record(upper, incumbent.value)
    details = {
        "status": "closed" if upper <= search.target else "exhausted" if search.finished else "deadline",
        "gap": upper / incumbent.value - 1.0 if incumbent.value else None,
    }
    details |= search.details() | trail.details()
    with on_cpu(), np.errstate(all="ignore"):
        claims, reason = _claims(problem, model, search, upper, deadline.within(deadline.clock() - begun + TREE_S))
    details["certificate"] = reason or "tree of phases"
    return Estimate("exact", upper, details=details, witness=incumbent.witness, claims=claims)


def _claims(
    problem: Problem, model: Model, search: Anytime, upper: float, deadline: Deadline
) -> tuple[Sequence[Claim], str | None]:
    """The tree that proves the bound, or why there is none; an enumeration has none, so a search makes one."""
    if not search.finished or not 0.0 < upper < math.inf:
        return (), "only a search that ended before its time has a tree of phases"
    proofs, bounding = Proofs(model, box_rows(problem.domain, model.size)), Bounding(model, problem.p)
    if not isinstance(search, Search):
        search = Search(Reached(problem, upper), 0.0, model, bounding, proofs, deadline)
        while search.tree.kept and not search.finished and not deadline.passed:
            search.step()
    if not search.tree.kept:
        return (), search.tree.reason
    claim = (
        phase_claim(problem.network, model, bounding, tree=search.tree, value=upper, deadline=deadline)
        if search.finished
        else None
    )
    return ((claim,), None) if claim else ((), "no time was left for the tree of phases")


def _searches(
    problem: Problem, model: Model, incumbent: Incumbent, gap: float, deadline: Deadline
) -> Iterator[tuple[Anytime, Deadline]]:
    """The searches that are worth a try, and until when."""
    if model.size <= MOST_INPUTS:
        middle = deadline.share(0.5)
        yield Enumeration(incumbent, gap, model, problem.domain, problem.p, middle), middle
    proofs, bounding = Proofs(model, box_rows(problem.domain, model.size)), Bounding(model, problem.p)
    yield Search(incumbent, gap, model, bounding, proofs, deadline), deadline


def _require_interior(domain: Domain) -> None:
    if isinstance(domain, Box) and bool((domain.lower >= domain.upper).any()):
        raise MethodSkipped("the box has no interior: a coordinate cannot vary")
