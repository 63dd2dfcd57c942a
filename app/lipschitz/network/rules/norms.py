"""Vector norms over axes: 1-Lipschitz in their own norm, known to equivalence constants in the others."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...errors import UnsupportedOperator
from ...operators.rounding import gamma, up_sqrt
from ..builder import Builder
from ..call import Call
from ..ends import MARGIN, Ends, magnitude, widened
from ..nodes import Constants, Function
from ..values import Linear
from .table import only_dependent, rule

VANISHED = 2.0**-500
"""More than sizes lose whose powers are subnormal."""


@rule("linalg_vector_norm.default")
def vector_norm(builder: Builder, call: Call) -> Linear:
    """||x||_1, ||x||_2 or ||x||_inf of n entries: |d||x||_q| is the size of one group's dual functional."""
    value, order = only_dependent(call), float(call.arguments["ord"])
    rank = len(value.shape)
    axes = call.arguments["dim"] or list(range(rank))
    batched, keepdim = [axis % rank + 1 for axis in axes], bool(call.arguments["keepdim"])
    n = math.prod(value.shape[axis] for axis in axes)
    constants = _constants(call, order, n)
    shape = tuple(call.run(Linear.offset).shape)

    def measure(x: Tensor) -> Tensor:
        return length(x, batched, order, keepdim)

    return builder.nonlinear(value, shape, measure, constants, "normalization", origin=call.origin, enclosure=by_size)


def _constants(call: Call, order: float, n: int) -> Constants:
    table: dict[float, Constants] = {
        1.0: {"1": 1.0, "2": up_sqrt(n), "inf": float(n)},
        2.0: {"1": 1.0, "2": 1.0, "inf": up_sqrt(n)},
        math.inf: {"1": 1.0, "2": 1.0, "inf": 1.0},
    }
    if order not in table:
        raise UnsupportedOperator(f"{call.place} of order {order:g} has no rule: known are 1, 2 and inf")
    return table[order]


def length(x: Tensor, dims: list[int], order: float = 2.0, keepdim: bool = False) -> Tensor:
    """A norm over some axes; squares neither overflow nor vanish before their sum does."""
    largest = x.detach().abs().amax(dims, keepdim=True)
    scale = torch.where((largest > 0) & torch.isfinite(largest), largest, 1.0)
    sizes: Tensor = torch.linalg.vector_norm(x / scale, order, dims, keepdim=True) * scale
    return sizes if keepdim else sizes.sum(dims)


def by_size(function: Function, lower: Tensor, upper: Tensor) -> Ends:
    """The enclosure of a norm, or of what else is homogeneous in |x| and falls in no |x_i|.

    A sum of all entries one after the other loses no more than `gamma` of their number.
    """
    across = (lower <= 0) & (upper >= 0)
    least = torch.where(across, 0.0, torch.minimum(lower.abs(), upper.abs()))
    low, high = function(torch.stack([least, magnitude((lower, upper))]))
    low = torch.nan_to_num(low, nan=0.0, posinf=torch.finfo(low.dtype).max)
    lost = MARGIN + gamma(lower.numel() + 4)
    low, high = widened(low * (1.0 - lost), high * (1.0 + lost), VANISHED)
    return low.clamp(min=0.0), high
