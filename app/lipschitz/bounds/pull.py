"""Rows a^T of linear functionals moved back through an operator, a^T A, with a bound of what rounding changed.

What is kept is an inequality between numbers: for |x| <= reach, entry by entry, the functional's value may be off by
`lost`. By the standard model |fl(A^T a) - A^T a| <= gamma_depth |A|^T |a|, so it is off by gamma_depth |a|^T |A| reach,
where |A| reach is one vector for all rows (N. Higham, Accuracy and Stability of Numerical Algorithms, section 3.5).
"""

from __future__ import annotations

from functools import singledispatch

import torch
from torch import Tensor

from ..operators.base import LinearOperator
from ..operators.composite import Composed, Stack, Sum
from ..operators.reshape import Reshape
from ..operators.rounding import TINY, UNIT, gamma
from ..operators.scaling import safe_norm

OUTWARD = 1.0 + 2.0**-20
"""Covers the rounding of sums of at most 2^31 sizes."""

Pulled = tuple[Tensor, Tensor]
"""Rows `(B, n)` and what each may be off by, `(B,)`."""


def pulled(operator: LinearOperator, rows: Tensor, reach: Tensor) -> Pulled:
    """rows `(B, m)` times the operator, for arguments within `reach` `(n,)`; the operator's own error included."""
    product, lost = _pulled(operator, rows, reach)
    if operator.error:
        lost = lost + operator.error * least_dual(rows, reach)
    return product, lost


def least_dual(rows: Tensor, reach: Tensor) -> Tensor:
    """At least a^T E x, `(B,)`, for every |x| <= reach and every E with ||E||_p <= 1 in all three norms."""
    size = reach.abs()
    products = [
        safe_norm(rows, q, dim=1) * safe_norm(size, p)
        for p, q in ((1.0, float("inf")), (2.0, 2.0), (float("inf"), 1.0))
    ]
    least: Tensor = OUTWARD * torch.stack(products).amin(0) + rows.shape[1] * TINY
    return least


def sizes_through(operator: LinearOperator, reach: Tensor) -> Tensor:
    """At least |A| |x| for |x| <= reach, `(m,)`."""
    return OUTWARD * operator.majorant().mv(reach[None])[0] + (operator.depth + 1) * TINY


@singledispatch
def _pulled(operator: LinearOperator, rows: Tensor, reach: Tensor) -> Pulled:
    """A single layer: what underflows is below the least number an entry of a sum of `depth` products."""
    share = gamma(operator.depth + 1)
    lost = rows.abs() @ (share * sizes_through(operator, reach)) + (operator.depth + 1) * TINY * reach.sum()
    return operator.rmv(rows), OUTWARD * lost + (operator.out_size + 2) * TINY


@_pulled.register
def _(operator: Reshape, rows: Tensor, reach: Tensor) -> Pulled:  # noqa: ARG001 - the identity on flat vectors
    return rows, rows.new_zeros(len(rows))


@_pulled.register
def _(operator: Composed, rows: Tensor, reach: Tensor) -> Pulled:
    """Part by part, each with what it reads."""
    reaches = [reach]
    for part in reversed(operator.parts[1:]):
        reaches.append(sizes_through(part, reaches[-1]))
    total = rows.new_zeros(len(rows))
    for part, own in zip(operator.parts, reversed(reaches), strict=True):
        rows, lost = _pulled(part, rows, own)
        total = total + lost
    return rows, OUTWARD * total


@_pulled.register
def _(operator: Sum, rows: Tensor, reach: Tensor) -> Pulled:
    return added([_pulled(part, rows, reach) for part in operator.parts], reach)


@_pulled.register
def _(operator: Stack, rows: Tensor, reach: Tensor) -> Pulled:
    pieces = rows.split([part.out_size for part in operator.parts], 1)
    return added([_pulled(part, piece, reach) for part, piece in zip(operator.parts, pieces, strict=True)], reach)


def added(parts: list[Pulled], reach: Tensor) -> Pulled:
    """The sum of some rows, its additions counted."""
    rows, lost = parts[0]
    for more, own in parts[1:]:
        rows = rows + more
        lost = OUTWARD * (lost + own + UNIT * (rows.abs() @ reach))
    return rows, lost
