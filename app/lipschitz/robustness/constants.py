"""Certified constants of f_i - f_j on the whole domain: what all rows of a data set share."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ...contract.options import LipsdpOptions
from ..bracket import info_of
from ..errors import MethodSkipped
from ..lipsdp.margins import SMALL_SIDE, last_piece, lipsdp_margins
from ..lipsdp.sizes import side
from ..network.target import MOST_OUTPUTS
from ..operators.rounding import up_mul
from ..problem import Estimate, Problem
from ..walk.margins import PAIR_LENGTH, uniform, walked

LIPSDP_SHARE = 0.5
"""Part of the time left that the constants of all pairs may take."""
MOST_S = 20.0
"""The same in seconds."""
GAP = 1e-4
"""Relative gap of these constants to the relaxation's optimum, at most."""


def pair_constants(problem: Problem, estimates: Sequence[Estimate]) -> Tensor:
    """The least certified constants of f_i - f_j at hand, `(m, m)`; LipSDP is asked where it answers quickly."""
    size = problem.network.output.size
    whole = uniform(size, up_mul(PAIR_LENGTH[problem.p], _least_upper(estimates)))
    of_pairs = [one for one in estimates if isinstance(one.details.get("pairs"), list)]
    known = [_as_matrix(estimate, size) for estimate in of_pairs]
    has_lipsdp = any(estimate.method == "lipsdp" for estimate in of_pairs)
    if not has_lipsdp and problem.deadline.left and size <= MOST_OUTPUTS and _is_quick(problem):
        known += _by_lipsdp(problem)
    return torch.stack([walked(problem), whole, *known]).amin(0)


def _is_quick(problem: Problem) -> bool:
    """Whether LipSDP takes a second or two."""
    return side(last_piece(problem, 0), problem.local) <= SMALL_SIDE


def _least_upper(estimates: Sequence[Estimate]) -> float:
    """The least certified constant of all outputs together."""
    uppers = [e.value for e in estimates if e.value is not None and info_of(e.method).kind == "upper"]
    return min(uppers, default=math.inf)


def _by_lipsdp(problem: Problem) -> list[Tensor]:
    seconds = min(MOST_S, LIPSDP_SHARE * problem.deadline.left)
    options = LipsdpOptions().model_copy(update={"gap": GAP, "seconds": seconds})
    try:
        return [_as_matrix(lipsdp_margins(problem, options), problem.network.output.size)]
    except MethodSkipped:
        return []


def _as_matrix(estimate: Estimate, size: int) -> Tensor:
    constants = torch.zeros(size, size, dtype=torch.float64)
    for i, j, constant in estimate.details["pairs"]:
        constants[i, j] = constants[j, i] = math.inf if constant is None else constant
    return constants
