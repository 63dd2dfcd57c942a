"""Composite operators as explicit matrices, where that is affordable, with the rounding of their entries."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..deadline import NEVER, Deadline
from .base import LinearOperator
from .composite import Adjoint, Composed, Sum, leaves, work
from .rounding import gamma, up_mul, up_sqrt

_MEMORY = 2**26
"""Entries of the largest intermediate batch: 512 MiB."""
_LAYER_LIMITS = (1500, 1e10)
_COMPOSITE_LIMITS = (4096, 1e11)
"""Smaller side and multiplications. A composite may cost more: its parts bound it only loosely."""

_DECADES = 80.0
NEGLIGIBLE = 2.0**-44
"""An error that small, relative to the matrix, is not worth a second look."""
UNDERFLOWN = 1e-200
"""More than underflow loses in a `moderate` product."""
OUTWARD = 1.0 + 2.0**-20
"""Covers the rounding of the sums and products that make up an error."""
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

    The entries are inner products of at most `depth` roundings; a single layer's are read off exactly. Where absolute
    sums say too little of a product of layers, its rounding is followed from layer to layer. OutOfTime at the deadline.
    """
    if isinstance(operator, Sum):
        return _summed([matrix_with_error(part, deadline) for part in operator.parts])
    matrix = explicit_matrix(operator, deadline)
    columns, rows = operator.absolute_sums()
    lost = gamma(operator.depth + 1) if len(leaves(operator)) > 1 else 0.0
    error = up_mul(lost, up_mul(up_sqrt(columns), up_sqrt(rows)))
    if not isinstance(operator, Composed) or error <= NEGLIGIBLE * float(torch.linalg.vector_norm(matrix)):
        return matrix, error
    widest, sides = max(max(leaf.in_size, leaf.out_size) for leaf in leaves(operator)), sum(matrix.shape)
    if sides * widest > _MEMORY or sides * work(operator) > _COMPOSITE_LIMITS[1]:
        return matrix, error
    deadline.check()
    followed, away = _followed(operator)
    return (followed, away) if away < error else (matrix, error)


def _summed(parts: Sequence[tuple[Tensor, float]]) -> tuple[Tensor, float]:
    """The sum of matrices, with their errors and its own."""
    stacked = torch.stack([matrix for matrix, _ in parts])
    own = OUTWARD * gamma(len(parts) + 1) * float(torch.linalg.vector_norm(stacked.abs().sum(0)))
    return stacked.sum(0), OUTWARD * (sum(error for _, error in parts) + own) + UNDERFLOWN


def _followed(operator: Composed) -> tuple[Tensor, float]:
    """(M, e) as of `matrix_with_error`, of a product A_k ... A_1.

    M_j = fl(A_j M_j-1) = A_j M_j-1 + F_j with |F_j| <= gamma |A_j| |M_j-1|, so M_k is off by the sum of S_j F_j, with
    S_j = A_k ... A_j+1 exact. Those are computed from the outside, and what they are off by counts with them.
    """
    x = torch.eye(operator.in_size, dtype=torch.float64, device=operator.device)
    rounding = []
    for part in reversed(operator.parts):
        rounding.append(_lost(x, part.majorant(), part.depth))
        x = part.mv(x)
    y, away, error = torch.eye(operator.out_size, dtype=torch.float64, device=operator.device), 0.0, UNDERFLOWN
    for part, lost in zip(operator.parts, reversed(rounding), strict=True):
        error += (_size(y) + away) * lost
        columns, rows = part.absolute_sums()
        away = OUTWARD * away * math.sqrt(columns) * math.sqrt(rows) + _lost(y, Adjoint(part.majorant()), part.depth)
        y = part.rmv(y)
    return x.T, OUTWARD * error


def _lost(x: Tensor, majorant: LinearOperator, depth: int) -> float:
    """Of rounding, in the 2-norm, when an operator of that majorant and depth takes the rows of `x`, `(B, n)`."""
    size = x.abs()
    ones = torch.ones(1, majorant.out_size, dtype=torch.float64, device=x.device)
    rows, columns = majorant.mv(size.sum(0)[None]).max(), (size @ majorant.rmv(ones)[0]).max()
    return OUTWARD * gamma(depth + 1) * math.sqrt(float(rows)) * math.sqrt(float(columns))


def _size(y: Tensor) -> float:
    """At least the 2-norm."""
    sums = [float(y.abs().sum(dim).max()) for dim in (0, 1)]
    return OUTWARD * min(float(torch.linalg.vector_norm(y)), math.sqrt(sums[0]) * math.sqrt(sums[1]))


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
