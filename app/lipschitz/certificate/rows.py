"""Constants in the inf- and 1-norm checked: row by row of the Jacobian, by LipSDP's inequality with a weight an input.

K - c c^T >= 0 with K = diag(r) E_x + sum_i t_i (u_i w_i^T + w_i u_i^T) proves |c d|^2 <= sum_j r_j dx_j^2, so sum(r)
bounds the square of the largest change of output c over |dx|_inf <= 1 (A. Raghunathan, J. Steinhardt, P. Liang, ICLR
2018, for one layer). The constant from inf to inf is the largest over all outputs. The one from 1 to 1 is that of the
transposed Jacobians, which are those of the network read backwards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from app.lipschitz.certificate.balls import UNIT, Array
from app.lipschitz.certificate.fields import InvalidCertificate
from app.lipschitz.certificate.forms import Slopes
from app.lipschitz.certificate.record import PieceRecord, ProgramRecord
from app.lipschitz.certificate.sparse import Inequality, planned
from app.lipschitz.certificate.sparse_system import SparseSystem, sparse_system
from app.lipschitz.network.nodes import Activation, Node
from app.lipschitz.operators.norm import Norm


def system_of_rows(start: Node, end: Node, slopes: Mapping[Activation, Slopes], p: Norm) -> SparseSystem:
    """The system whose outputs are the Jacobians' rows for the inf-norm, their columns for the 1-norm."""
    system = sparse_system(start, end, slopes)
    return system if p == "inf" else system.transposed


def check_programs(start: Node, end: Node, slopes: Mapping[Activation, Slopes], record: PieceRecord, p: Norm) -> None:
    """InvalidCertificate unless every row is bounded by the constant; TooLarge where a program does not fit."""
    system = system_of_rows(start, end, slopes, p)
    open_ = set(range(system.outputs))
    plan = planned(system)
    for program in record.programs:
        weights = np.array(program.weights)
        rows = np.array(program.rows, dtype=np.int64)
        if len(weights) != system.inputs or (rows >= system.outputs).any():
            raise InvalidCertificate("a program has weights or rows that the piece does not have")
        if not total(weights) <= record.constant**2 * (1.0 - 4.0 * UNIT):
            raise InvalidCertificate("the weights of a program add up to more than the constant's square")
        inequality = Inequality(system, plan, weights, _multipliers(program, slopes))
        if not bool(inequality.is_proved(whole=False)[rows].all()):
            raise InvalidCertificate("a program does not prove its rows: the matrix is not certainly positive")
        open_ -= set(program.rows)
    if open_:
        raise InvalidCertificate(f"no program bounds row {min(open_)}")


def total(weights: Array) -> float:
    """The sum, rounded up."""
    return math.fsum(weights.tolist()) * (1.0 + 4.0 * UNIT)


def _multipliers(program: ProgramRecord, slopes: Mapping[Activation, Slopes]) -> Array:
    """Those of the free neurons, `(M,)`."""
    if [len(one) for one in program.multipliers] != [node.size for node in slopes]:
        raise InvalidCertificate("the multipliers of a program are not those of the activations")
    free = zip(program.multipliers, slopes.values(), strict=True)
    return np.concatenate([np.zeros(0), *(np.array(one)[bounds.free] for one, bounds in free)])
