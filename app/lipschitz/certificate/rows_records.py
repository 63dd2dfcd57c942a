"""From a claim about rows to a record that the independent check has accepted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..claims import RowsClaim
from ..network.nodes import Activation, Node
from ..operators.rounding import up_sqrt
from ..problem import Problem
from .fields import InvalidCertificate
from .forms import Slopes
from .matrices import TooLarge, array
from .raised import stated_slopes
from .record import ActivationRecord, PieceRecord, ProgramRecord
from .rows import Reading, check_programs
from .work import proof_work

RAISED = (0.0, 1e-6, 1e-4, 1e-2)
"""Shares by which all weights and multipliers are raised until the check accepts them."""


def rows_record(problem: Problem, claim: RowsClaim, position: Mapping[Node, int]) -> PieceRecord | None:
    """The programs as they are claimed or a little larger; None where the check accepts none of them."""
    slopes = {node: _slopes(problem, claim, node) for node in claim.slopes}
    norms = problem.p, problem.output_norm
    for more in RAISED:
        if not problem.deadline.fits(proof_work(claim)):
            return None
        record = _record(claim, slopes, position, 1.0 + more, Reading.of(*norms))
        try:
            check_programs(claim.start, claim.nodes[-1], slopes, record, norms)
        except TooLarge:
            return None
        except InvalidCertificate:
            continue
        return record
    return None


def places_within(start: int, nodes: Sequence[Node]) -> dict[Node, int]:
    """Positions after `start` of a piece's nodes where maxima are written out."""
    return {node: start + 1 + i for i, node in enumerate(nodes)}


def _slopes(problem: Problem, claim: RowsClaim, node: Activation) -> Slopes:
    free = np.flatnonzero(array(claim.programs[0].t[node]))
    return Slopes(*stated_slopes(problem, claim.origin.get(node), *claim.slopes[node]), free)


def _record(
    claim: RowsClaim, slopes: Mapping[Activation, Slopes], position: Mapping[Node, int], factor: float, reading: Reading
) -> PieceRecord:
    """With 1 in place of the multiplier of a neuron that is a variable."""
    programs = [
        ProgramRecord(
            list(one.rows),
            (array(one.weights) * factor).tolist(),
            [(array(one.t[node]) * factor).tolist() for node in slopes],
        )
        for one in claim.programs
    ]
    places, activations = places_within(position[claim.start], claim.nodes), []
    for node, bounds in slopes.items():
        is_free = np.zeros(node.size)
        is_free[bounds.free] = 1.0
        ends = bounds.lower.tolist(), bounds.upper.tolist()
        activations.append(ActivationRecord(places[node], *ends, is_free.tolist()))
    largest = max(reading.size(np.array(program.weights)) for program in programs)
    constant = math.nextafter(up_sqrt(largest) * (1.0 + 2.0**-48), math.inf)
    record = PieceRecord("rows", position[claim.start], position[claim.end], constant)
    return replace(record, activations=activations, programs=programs)
