"""The 1- and infinity-norms: largest absolute column and row sums."""

from __future__ import annotations

from contextlib import suppress

import torch
from torch import Tensor

from ..deadline import NEVER, Deadline, OutOfTime
from .base import LinearOperator
from .composite import leaves
from .dense_norm import Bracket
from .materialise import affordable, explicit_matrix, moderate
from .rounding import gamma, up_add, up_mul, widened

UNDERFLOW = 2.0**-500
"""More than underflow takes from the sums of a `moderate` composite, relative to the product of its parts' sums."""


def sum_bracket(operator: LinearOperator, deadline: Deadline = NEVER) -> Bracket:
    """Bracket of ||A||_inf of the exact operator; call with the adjoint for ||A||_1.

    The majorant applied to ones gives row sums, exact for a single layer; a composite whose signs may cancel
    is also summed from its matrix where that is affordable before the deadline. `lower` is the sum of one row of A,
    read off by the adjoint of a unit vector: the sign pattern of that row attains it.
    """
    bound = operator.absolute_sums()[1]
    ones = torch.ones(1, operator.in_size, dtype=torch.float64, device=operator.device)
    sums = operator.majorant().mv(ones).squeeze(0)
    regular, composite = moderate(operator), len(leaves(operator)) > 1
    vanished = up_mul(UNDERFLOW, bound) if composite else 0.0
    upper = min(bound, up_add(widened(float(sums.max()), operator.depth), vanished)) if regular else bound
    lost = up_mul(gamma(operator.depth + 1), bound)
    if composite and regular and affordable(operator):
        with suppress(OutOfTime):
            sums = explicit_matrix(operator, deadline).abs().sum(1)
            upper = min(upper, up_add(widened(float(sums.max()), operator.in_size), lost))
    lower = _row_sum(operator, int(sums.argmax())) - lost - operator.error if regular else 0.0
    return Bracket(up_add(upper, operator.error), max(0.0, lower * (1.0 - 2.0**-50)))


def _row_sum(operator: LinearOperator, row: int) -> float:
    unit = torch.zeros(1, operator.out_size, dtype=torch.float64, device=operator.device)
    unit[0, row] = 1.0
    entries: Tensor = operator.rmv(unit)
    return float(entries.abs().sum()) * (1.0 - gamma(operator.in_size + 1))
