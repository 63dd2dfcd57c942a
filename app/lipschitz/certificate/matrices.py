"""The network's linear maps as explicit matrices with their rounding.

The weights are those of the graph; products, sums and stacks of them are formed here, in balls.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..operators.base import LinearOperator
from ..operators.composite import Adjoint, Composed, Stack, Sum
from ..operators.gather import Gather
from ..operators.reshape import Reshape
from .balls import Array, Ball, stacked

MOST_ENTRIES = 2**26
"""Of one matrix: half a gigabyte."""


class TooLarge(Exception):
    """A matrix would not fit."""


def array(tensor: torch.Tensor) -> Array:
    """The same numbers in numpy."""
    entries: Array = tensor.detach().cpu().numpy()
    return entries


def matrix(operator: LinearOperator) -> Ball:
    """The operator's matrix, `(m, n)`; TooLarge where a factor of it would not fit."""
    if isinstance(operator, Composed):
        return _product(operator)
    if isinstance(operator, Sum):
        total, *others = (matrix(part) for part in operator.parts)
        for other in others:
            total = total + other
        return total
    if isinstance(operator, Stack):
        return stacked([matrix(part) for part in operator.parts])
    if isinstance(operator, Adjoint):
        return matrix(operator.operator).transposed
    return _leaf(operator)


def _product(operator: Composed) -> Ball:
    *outer, inner = _without_reshapes(operator.parts)
    product = matrix(inner)
    for part in reversed(outer):
        check_entries(part.out_size * product.middle.shape[1])
        product = _picked(part, product) if isinstance(part, Gather) else matrix(part) @ product
    return product


def _without_reshapes(parts: Sequence[LinearOperator]) -> Sequence[LinearOperator]:
    """On flat vectors a reshape is the identity; one is kept where there is nothing else."""
    return [part for part in parts if not isinstance(part, Reshape)] or parts[:1]


def _picked(gather: Gather, inner: Ball) -> Ball:
    """Entries read by position: rows of the inner matrix, zeros where the index is -1."""
    index = gather.index.cpu().numpy()
    read = (index >= 0)[:, None]
    chosen = inner.rows(np.maximum(index, 0))
    return Ball(np.where(read, chosen.middle, 0.0), np.where(read, chosen.radius, 0.0))


def _leaf(operator: LinearOperator) -> Ball:
    """Read off with unit vectors, which rounds nothing; `error` bounds every entry's distance to the exact one."""
    check_entries(operator.in_size * operator.out_size)
    entries = array(operator.as_matrix())
    return Ball(entries, np.full_like(entries, operator.error))


def check_entries(entries: int) -> None:
    """TooLarge beyond the limit."""
    if entries > MOST_ENTRIES:
        raise TooLarge(f"a matrix of {entries} entries exceeds the limit of {MOST_ENTRIES}")
