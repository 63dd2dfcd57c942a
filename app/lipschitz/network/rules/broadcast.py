"""Broadcasting of a dependent value, and elementwise products with a constant."""

from __future__ import annotations

import torch

from ...operators.base import Shape
from ...operators.diagonal import Diagonal
from ...operators.gather import Gather
from ..constants import radius, without_doubtful_zeros
from ..values import Constant, Linear


def broadcast(value: Linear, shape: Shape) -> Linear:
    """`value` expanded to `shape`: every copy of an entry is gathered from it."""
    if value.shape == tuple(shape):
        return value
    index = value.positions().expand(shape)
    gather = Gather(value.shape, tuple(shape), index.reshape(-1))
    return value.then(gather, value.offset().expand(shape), None)


def diagonal(weight: Constant, shape: Shape) -> Diagonal:
    """Multiplication by a constant tensor that broadcasts to `shape`; its rounding goes into `error`."""
    weight = without_doubtful_zeros(weight)
    error = float(radius(weight).max()) if weight.value.numel() else 0.0
    return Diagonal(tuple(shape), tuple(shape), weight.value.to(torch.float64), error)
