"""The exact constant of a small piecewise linear network, by an anytime search of its phases.

The constant on a convex domain with an interior is the largest ||J|| over the activation patterns that an open set of
the domain takes (Jordan & Dimakis, NeurIPS 2020; Bhowmick et al., LipBaB, 2021). Both ends of the bracket are valid
whenever the search is stopped: the upper one is certified, the lower one is attained by a pair of points. A ball of the
1- or 2-norm counts as the box around it when regions are excluded, so its bracket may stay open.

With one or two inputs all regions are enumerated (`phases.enumeration`), as long as half of the time allows; other
networks, and those with too many regions, are searched by branch and bound (`phases.search`). On a small domain most
neurons have one slope: where at most 16 have not, all vertices bound a network of any size (`vertices`), and up to 400
of them branch and bound over parts of the domain (`by_parts`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ...contract.options import ExactOptions
from ..bracket import value_of
from ..claims import Claim
from ..deadline import Deadline, Laps, OutOfTime
from ..device import on_cpu
from ..domain import Box, Domain
from ..errors import MethodSkipped
from ..problem import Estimate, Problem, Witness
from .by_parts import by_parts, is_searchable
from .phases.anytime import Anytime
from .phases.bounding import Bounding
from .phases.bounds import enclosing_work
from .phases.claim import phase_claim
from .phases.emptiness import Proofs, box_rows
from .phases.enumeration import MOST_INPUTS, Enumeration
from .phases.incumbent import Incumbent, Reached
from .phases.model import Model, stacked
from .phases.search import Search
from .phases.trail import Trail
from .vertices import by_vertices

VERTICES, REGIONS = 0.5, 0.5
"""Parts of the time that all vertices may take, and the search of regions where branch and bound follows."""
HARDLY = 1.001
"""A bound with a certificate is preferred to one without that is less by no more than this."""
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
    """The search of regions, all vertices, and branch and bound over parts, as far as each is worth a try: the least.

    MethodSkipped names the node that is not piecewise linear, or whose weights were folded in floating point, where the
    open neurons are too many besides.
    """
    _require_interior(problem.domain)
    deadline, bounds, refusal = problem.deadline_within(options.seconds), [], None
    with on_cpu():
        searchable = is_searchable(problem)
        folded = by_vertices(problem, deadline.share(VERTICES))
    bounds += [folded] if folded else []
    if problem.network.input.size <= SEARCHED_INPUTS or not (bounds or searchable):
        try:
            bounds.append(_searched(problem, options, deadline.share(REGIONS if searchable else 1.0)))
        except (MethodSkipped, OutOfTime) as reason:
            refusal = reason
    if searchable and not _is_closed(bounds, options.gap):
        with on_cpu():
            estimate = by_parts(problem, options, deadline.share(1.0 - RESERVE), _steepest(problem, bounds))
        bounds += [estimate] if estimate else []
    if not bounds:
        raise refusal or MethodSkipped("no bound was found in its share of the time")
    return _least(problem, bounds, options.gap)


def _steepest(problem: Problem, bounds: Sequence[Estimate]) -> Witness | None:
    """The best pair that is known."""
    known = [one for one in (problem.floor, *(bound.witness for bound in bounds)) if one is not None]
    return max(known, key=lambda one: one.value, default=None)


def _is_closed(bounds: Sequence[Estimate], gap: float) -> bool:
    """Whether a search has ended, or the bounds meet."""
    attained = max((one.witness.value for one in bounds if one.witness is not None), default=0.0)
    ended = any(one.details["status"] in ("closed", "exhausted") for one in bounds)
    return ended or any(value_of(one) <= attained * (1.0 + gap) for one in bounds)


def _least(problem: Problem, bounds: Sequence[Estimate], gap: float) -> Estimate:
    """The least bound with the best pair of all, and with the claims of the least that has any, which count instead
    where it is hardly more.
    """
    least = min(bounds, key=value_of)
    proved = min((one for one in bounds if one.claims), key=value_of, default=None)
    chosen = least
    if proved is not None:
        hardly = value_of(proved) <= value_of(least) * HARDLY
        chosen = proved if hardly else replace(least, claims=proved.claims)
    witness = max((one.witness for one in bounds if one.witness is not None), key=lambda one: one.value, default=None)
    if witness is None or not witness.value or witness is chosen.witness:
        return chosen
    reached = value_of(chosen) / witness.value - 1.0
    status = "closed" if reached <= gap else chosen.details["status"]
    return replace(chosen, witness=witness, details=chosen.details | {"gap": reached, "status": status})


def _searched(problem: Problem, options: ExactOptions, deadline: Deadline) -> Estimate:
    """Search regions until the bracket's relative gap is `gap` or time is over."""
    trail = Trail(problem.progress)
    deadline = deadline.share(1.0 - RESERVE)
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
