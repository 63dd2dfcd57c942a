"""Composite operators as explicit matrices, where that is affordable, with the rounding of their entries."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from app.lipschitz.deadline import NEVER, Deadline
from app.lipschitz.operators.base import LinearOperator
from app.lipschitz.operators.composite import leaves, work
from app.lipschitz.operators.rounding import gamma, up_mul, up_sqrt

_MEMORY = 2**26
"""Entries of the largest intermediate batch: 512 MiB."""
_LAYER_LIMITS = (1500, 1e10)
_COMPOSITE_LIMITS = (4096, 1e11)
"""Smaller side and multiplications. A composite may cost more: its parts bound it only loosely."""

_DECADES = 80.0
_STRIDE_WORK = 2e8
"""Multiplications between two looks at the clock."""


def affordable(operator: LinearOperator) -> bool:
    """The smaller side, the memory of its batch of unit vectors, and the time are within limits."""
    small = min(operator.in_size, operator.out_size)
    large = max(max(leaf.in_size, leaf.out_size) for leaf in leaves(operator))
    side, most = _LAYER_LIMITS if len(leaves(operator)) == 1 else _COMPOSITE_LIMITS
    gram = 2.0 * small**2 * max(operator.in_size, operator.out_size)
    fits = 0 < small <= side and small * large <= _MEMORY
    return fits and gram + 2.0 * small * work(operator) <= most


def moderate(operator: LinearOperator) -> bool:
    """No product of entries can underflow or overflow to any effect: the model gamma_n |A| |x| holds.

    A single layer multiplies its entries with nothing but zeros and ones here. In a composite, with sizes
    n_i = max(||A_i||_1, ||A_i||_inf) of the majorants and prod max(n_i, 1/n_i) <= 1e80, underflow loses less
    than 1e-220, while the rounding allowance is u times the product of the 2-norms of the majorants: at
    least 1e-96 over the product of the dimensions of the layers with weights.
    """
    parts = leaves(operator)
    if len(parts) == 1:
        return True
    sizes = [max(part.absolute_sums()) for part in parts]
    return math.fsum(abs(math.log10(size)) for size in sizes if size > 0.0) <= _DECADES


def matrix_with_error(operator: LinearOperator, deadline: Deadline = NEVER) -> tuple[Tensor, float]:
    """(M, e): the matrix `(m, n)` of a `moderate` operator, and ||exact - M||_2 <= e.

    The entries are inner products of at most `depth` roundings; a single layer's are read off exactly. OutOfTime at the
    deadline.
    """
    matrix = explicit_matrix(operator, deadline)
    columns, rows = operator.absolute_sums()
    lost = gamma(operator.depth + 1) if len(leaves(operator)) > 1 else 0.0
    return matrix, up_mul(lost, up_mul(up_sqrt(columns), up_sqrt(rows)))


def explicit_matrix(operator: LinearOperator, deadline: Deadline = NEVER) -> Tensor:
    """The dense matrix, `(m, n)`, some unit vectors at a time; OutOfTime at the deadline."""
    small = min(operator.in_size, operator.out_size)
    count = max(1, int(_STRIDE_WORK / (work(operator) + 1.0)))
    if count >= small:
        return operator.as_matrix()
    parts = []
    for unit in torch.eye(small, dtype=torch.float64, device=operator.device).split(count):
        deadline.check()
        parts.append(operator.mv(unit) if operator.in_size <= operator.out_size else operator.rmv(unit))
    whole = torch.cat(parts)
    return whole.T if operator.in_size <= operator.out_size else whole
