"""From the claim of a tree of phases to a record that the independent check has accepted."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..claims import PhaseClaim
from ..deadline import OutOfTime
from ..network.nodes import Node
from ..operators.rounding import up_mul
from ..problem import Problem
from .fields import InvalidCertificate
from .phases import check_tree
from .record import PieceRecord

RAISED = (1e-12, 1e-10, 1e-8, 1e-6, 1e-5, 1e-4)
"""Shares by which the value is raised, a whole tree checked for each; radii grow by a millionth a step (`OUTWARD`)."""
PART = 0.5
"""Of the time that is left: another method's certificate may still have to be made."""


def phase_record(problem: Problem, claim: PhaseClaim, position: Mapping[Node, int]) -> PieceRecord:
    """The tree with its value, as far as the check asks for raised; infinite where it accepts none, or has no time."""
    deadline = problem.deadline.share(PART)
    start, end = position[claim.start], position[claim.end]
    for more in RAISED:
        value = up_mul(claim.value, 1.0 + more)
        if _holds(problem.until(deadline), claim, value):
            return PieceRecord("phases", start, end, value, tree=list(claim.tree))
    return PieceRecord("phases", start, end, math.inf, tree=list(claim.tree))


def _holds(problem: Problem, claim: PhaseClaim, value: float) -> bool:
    try:
        check_tree(problem, claim.tree, value)
    except (InvalidCertificate, OutOfTime):
        return False
    return True
