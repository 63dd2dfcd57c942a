"""Constants beyond the 2-norm checked: by LipSDP's inequality with a weight an input, or row by row of the Jacobian.

K - c c^T >= 0 with K = diag(r) E_x + sum_i t_i (u_i w_i^T + w_i u_i^T) proves |c d|^2 <= sum_j r_j dx_j^2, so sum(r)
bounds the square of the largest change of output c over |dx|_inf <= 1 (A. Raghunathan, J. Steinhardt, P. Liang, ICLR
2018, for one layer). The constant from inf to inf is the largest over all outputs. The one from 1 to 1 is that of the
transposed Jacobians, which are those of the network read backwards. From inf to 2 all outputs count together, as in
the 2-norm; from 2 to inf each row by itself, with one weight for all inputs; from 2 to 1 and from 1 to 2 the same
backwards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..network.nodes import Activation, Node
from ..operators.norm import Norm
from .balls import UNIT, Array
from .fields import InvalidCertificate
from .forms import Slopes
from .record import PieceRecord, ProgramRecord
from .sparse import Inequality, planned
from .sparse_system import SparseSystem, sparse_system

DUAL: dict[Norm, Norm] = {"1": "inf", "2": "2", "inf": "1"}


@dataclass(frozen=True)
class Reading:
    """What programs bound the constant from p to q: of the network, or of the one read backwards where it `is_turned`.

    Inputs `are_weighed` each by itself in the inf-norm, and outputs count `together` in the 2-norm.
    """

    is_turned: bool
    are_weighed: bool
    together: bool

    @classmethod
    def of(cls, p: Norm, q: Norm) -> Reading:
        """InvalidCertificate where no such programs bound the constant."""
        is_turned = "1" in (p, q)
        if is_turned:
            p, q = DUAL[q], DUAL[p]
        if (p, q) not in (("inf", "inf"), ("inf", "2"), ("2", "inf")):
            raise InvalidCertificate("programs with weights of the inputs prove no constant in these norms")
        return cls(is_turned, p == "inf", q == "2")

    def size(self, weights: Array) -> float:
        """At least the largest sum of r_j dx_j^2 over inputs of norm one."""
        return total(weights) if self.are_weighed else float(weights.max(initial=0.0))

    def system(self, start: Node, end: Node, slopes: Mapping[Activation, Slopes]) -> SparseSystem:
        """The system whose outputs are the Jacobians' rows, or their columns."""
        system = sparse_system(start, end, slopes)
        return system.transposed if self.is_turned else system


def check_programs(
    start: Node, end: Node, slopes: Mapping[Activation, Slopes], record: PieceRecord, norms: tuple[Norm, Norm]
) -> None:
    """InvalidCertificate unless every row is bounded by the constant; TooLarge where a program does not fit."""
    reading = Reading.of(*norms)
    system = reading.system(start, end, slopes)
    open_ = set(range(system.outputs))
    plan = planned(system)
    for program in record.programs:
        weights = np.array(program.weights)
        rows = np.array(program.rows, dtype=np.int64)
        if len(weights) != system.inputs or (rows >= system.outputs).any():
            raise InvalidCertificate("a program has weights or rows that the piece does not have")
        if not reading.size(weights) <= record.constant**2 * (1.0 - 4.0 * UNIT):
            raise InvalidCertificate("the weights of a program add up to more than the constant's square")
        inequality = Inequality(system, plan, weights, _multipliers(program, slopes))
        proved = inequality.is_proved(whole=reading.together)
        if not bool((proved.all() if reading.together else proved[rows]).all()):
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
