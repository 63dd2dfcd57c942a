"""Vector norms over axes: 1-Lipschitz in their own norm, known to equivalence constants in the others."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from app.lipschitz.errors import UnsupportedOperator
from app.lipschitz.network.builder import Builder
from app.lipschitz.network.call import Call
from app.lipschitz.network.ends import Ends, magnitude
from app.lipschitz.network.nodes import Constants, Function
from app.lipschitz.network.rules.softmax import rising
from app.lipschitz.network.rules.table import only_dependent, rule
from app.lipschitz.network.values import Linear
from app.lipschitz.operators.rounding import up_sqrt


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
        sizes: Tensor = torch.linalg.vector_norm(x, order, batched, keepdim)
        return sizes

    return builder.nonlinear(value, shape, measure, constants, "normalization", call.origin, by_size)


def _constants(call: Call, order: float, n: int) -> Constants:
    table: dict[float, Constants] = {
        1.0: {"1": 1.0, "2": up_sqrt(n), "inf": float(n)},
        2.0: {"1": 1.0, "2": 1.0, "inf": up_sqrt(n)},
        math.inf: {"1": 1.0, "2": 1.0, "inf": 1.0},
    }
    if order not in table:
        raise UnsupportedOperator(f"{call.place} of order {order:g} has no rule: known are 1, 2 and inf")
    return table[order]


def by_size(function: Function, lower: Tensor, upper: Tensor) -> Ends:
    """The enclosure of a function of |x| that falls in no |x_i|."""
    across = (lower <= 0) & (upper >= 0)
    least = torch.where(across, 0.0, torch.minimum(lower.abs(), upper.abs()))
    low, high = rising(function, least, magnitude((lower, upper)))
    return low.clamp(min=0.0), high
