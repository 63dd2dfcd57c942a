"""The bound of a network whose open neurons are too many to enumerate: branch and bound over parts of the domain.

What is left of the network on the domain (`folded`) is bounded by LipSDP; parts with one phase of a neuron fixed, or
with half of an input's range, have fewer open neurons and narrower ranges (`parts`). Anytime: the largest bound of the
parts holds for the domain. Parts are dropped when they are proved empty.
"""

from __future__ import annotations

import math

import torch

from ...contract.options import ExactOptions, GradientOptions
from ..deadline import Deadline, OutOfTime
from ..domain import Ball, WholeSpace
from ..errors import MethodSkipped
from ..lipsdp.region import Region, region_of, varying
from ..lower.gradient import gradient
from ..network.nodes import Activation, Affine, Concat
from ..network.propagation import of_domain
from ..problem import Estimate, Problem, Witness
from ..walk.pieces import Piece, constants_within
from .folded import Folded
from .parts.functionals import Functionals, functionals
from .parts.kinks import Kinks
from .parts.narrowing import Narrowing
from .parts.part import Parts
from .parts.points import Points
from .parts.programs import Programs
from .parts.search import Search
from .phases.trail import Trail
from .vertices import count_open

MOST_OPEN = 400
"""Neurons: beyond, the programs are large and their halves many."""
STEPS = 5
"""Of Adam for the ranges of every part."""
SEARCHING = 0.15
"""Part of the time that the search for a steep pair may take, where none is known."""


def is_searchable(problem: Problem) -> bool:
    """Whether the network is affine maps and activations, on a bounded domain with few open neurons."""
    _, *nodes = problem.network.nodes
    elementwise = bool(nodes) and all(isinstance(node, Affine | Concat | Activation) for node in nodes)
    return elementwise and not isinstance(problem.domain, WholeSpace) and count_open(problem) <= MOST_OPEN


def by_parts(problem: Problem, options: ExactOptions, deadline: Deadline, witness: Witness | None) -> Estimate | None:
    """The bound after the deadline, or once it is within `gap` of an attained slope; None where there is none."""
    if not is_searchable(problem) or not count_open(problem):
        return None
    try:
        witness = witness or _attained(problem, deadline.share(SEARCHING))
        search = make_search(problem, options.gap, witness)
    except (MethodSkipped, OutOfTime):
        return None
    if search is None:
        return None
    trail = Trail(problem.progress)
    trail.record(search.upper, witness.value)
    for upper in search.run(deadline):
        trail.record(upper, search.points.witness.value)
    upper, witness = search.upper, search.points.witness
    details = {
        "status": "closed" if upper <= search.target else "exhausted" if search.finished else "deadline",
        "gap": upper / witness.value - 1.0 if witness.value else None,
        "open_neurons": search.narrowing.known.count,
        "certificate": "parts with ranges of their own have no certificate",
    }
    details |= search.details() | trail.details()
    return Estimate("exact", upper, details=details, witness=witness)


def _attained(problem: Problem, deadline: Deadline) -> Witness:
    estimate = gradient(problem.until(deadline), GradientOptions())
    assert estimate.witness is not None
    return estimate.witness


def make_search(problem: Problem, gap: float, witness: Witness) -> Search | None:
    """The search with its first bound; None where ranges are not finite, or nothing is open."""
    start, *nodes = problem.network.nodes
    constants = constants_within(problem, Piece(start, tuple(nodes)))
    if not all(math.isfinite(constant) for constant in constants.values()):
        return None
    slopes = {node: problem.local.slopes(node) for node in nodes if isinstance(node, Activation)}
    region = region_of(start, nodes[-1], nodes, slopes, constants, by_layer=False, narrow=problem.p == "2")
    if not isinstance(region, Region):
        return None
    open_ = {node: varying(*slopes[node]).nonzero()[:, 0] for node in region.activations}
    known = functionals(problem, open_)
    if not _is_finite(known):
        return None
    kinks = Kinks.of(problem, open_)
    programs = Programs.of(Folded.of(region), kinks, problem.p)
    is_ball = isinstance(problem.domain, Ball) and problem.domain.p != "inf"
    ball = problem.domain if is_ball and isinstance(problem.domain, Ball) else None
    points = Points(problem, known, kinks, witness)
    narrowing = Narrowing(known, kinks, ball, STEPS)
    return Search(narrowing, programs, points, _root(problem, known), gap, is_box=not is_ball)


def _is_finite(known: Functionals) -> bool:
    parts = (known.lower, known.upper, known.reach_x, known.reach_z, known.below.constant, known.above.constant)
    return all(bool(torch.isfinite(part).all()) for part in parts)


def _root(problem: Problem, known: Functionals) -> Parts:
    ends, count = of_domain(problem.domain, problem.network.input.size), known.count
    one = torch.ones(1, count, dtype=torch.float64)
    return Parts(
        -math.inf * one,
        math.inf * one,
        ends.lower[None],
        ends.upper[None],
        known.lower[None],
        known.upper[None],
        torch.full((1,), math.inf, dtype=torch.float64),
        one,
        torch.ones(1, 1, dtype=torch.float64),
        torch.zeros_like(one),
        problem.domain.centre(problem.network.input.size)[None].clone(),
    )
