"""The exact constant of a small piecewise linear network, by an anytime branch and bound on its phases.

The constant on a convex domain with an interior is the largest ||J|| over the activation patterns that an open set of
the domain takes (Jordan & Dimakis, NeurIPS 2020; Bhowmick et al., LipBaB, 2021). Both ends of the bracket are valid
whenever the search is stopped: the upper one is certified, the lower one is attained by a pair of points. A ball of the
1- or 2-norm counts as the box around it when regions are excluded, so its bracket may stay open.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from app.lipschitz.domain import Box, Domain
from app.lipschitz.errors import MethodSkipped
from app.lipschitz.phases.bounding import Bounding
from app.lipschitz.phases.emptiness import Proofs
from app.lipschitz.phases.incumbent import Incumbent
from app.lipschitz.phases.model import stacked
from app.lipschitz.phases.search import Search
from app.lipschitz.phases.trail import Trail
from app.lipschitz.problem import Estimate, Problem

RESERVE = 0.02
"""Part of the time that is left for the report."""


def exact(problem: Problem, options: dict[str, Any]) -> Estimate:
    """Search until the bracket's relative gap is `gap` or `seconds` are over.

    MethodSkipped names the node that is not piecewise linear, or whose weights were folded in floating point.
    """
    trail = Trail(problem.progress)
    allowed = min(float(options["seconds"]), max(problem.seconds_left(), 0.0))
    deadline = time.monotonic() + allowed * (1.0 - RESERVE)
    _require_interior(problem.domain)
    incumbent = Incumbent(problem)
    with _on_cpu():
        model = stacked(problem.network)
        incumbent.start(model)
        proofs, bounding = Proofs(model, problem.domain), Bounding(model, problem.p)
        search = Search(model, bounding, proofs, incumbent, float(options["gap"]), deadline)
        while not search.finished and time.monotonic() < deadline:
            trail.record(search.upper, incumbent.value)
            search.step()
    trail.record(search.upper, incumbent.value)
    return Estimate("exact", search.upper, details=search.details() | trail.details(), witness=incumbent.witness)


def _require_interior(domain: Domain) -> None:
    if isinstance(domain, Box) and bool((domain.lower >= domain.upper).any()):
        raise MethodSkipped("the box has no interior: a coordinate cannot vary")


def _on_cpu() -> AbstractContextManager[object]:
    """The search goes from node to node in small steps: it stays on the CPU; only pairs are evaluated elsewhere."""
    return nullcontext() if torch.get_default_device().type == "cpu" else torch.device("cpu")
