"""Softmax, log-softmax and log-sum-exp: constants in closed form, values by their monotonicity."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from app.lipschitz.network.builder import Builder
from app.lipschitz.network.call import Call
from app.lipschitz.network.ends import MARGIN, Ends, widened
from app.lipschitz.network.nodes import Constants, Function
from app.lipschitz.network.rules.normalization import OUTWARD
from app.lipschitz.network.rules.table import only_dependent, rule
from app.lipschitz.network.values import Linear
from app.lipschitz.operators.base import Shape
from app.lipschitz.operators.rounding import gamma

SMALLEST = 2.0**-1000
"""Covers what underflows in an exponential."""

HALF: Constants = {"1": 0.5, "2": 0.5, "inf": 0.5}
ONE: Constants = {"1": 1.0, "2": 1.0, "inf": 1.0}


@rule("_softmax.default")
def softmax(builder: Builder, call: Call) -> Linear:
    """Softmax over one axis."""
    return softmax_over(builder, call, only_dependent(call), int(call.arguments["dim"]))


def softmax_over(builder: Builder, call: Call, value: Linear, dim: int) -> Linear:
    """Softmax of `value` over one axis: diag(p) - p p^T has 2-norm at most 1/2.

    It is symmetric with absolute row sums 2 p_i (1 - p_i) <= 1/2, and lies between 0 and diag(p).
    """
    axis = dim % max(len(value.shape), 1)

    def enclose(_function: Function, lower: Tensor, upper: Tensor) -> Ends:
        return _probabilities(lower, upper, value.shape, axis)

    def local(lower: Tensor, upper: Tensor) -> Constants:
        low, high = _probabilities(lower, upper, value.shape, axis)
        half = torch.minimum(low.clamp(min=0.5), high)
        rows = min(0.5, OUTWARD * float((2 * half * (1 - half)).max()))
        return {"1": rows, "2": min(rows, float(high.max())), "inf": rows}

    return builder.nonlinear(
        value,
        value.shape,
        lambda x: torch.softmax(x, axis + 1),
        HALF,
        "normalization",
        call.origin,
        enclose,
        local,
        value.shape[axis] if axis == len(value.shape) - 1 else 0,
    )


def _probabilities(lower: Tensor, upper: Tensor, shape: Shape, axis: int) -> Ends:
    """p_i is largest where z_i is largest and all other z_j are smallest, and the other way round."""
    low, high = lower.reshape(shape), upper.reshape(shape)
    top = high.amax(axis, keepdim=True)
    small, large = torch.exp(low - top), torch.exp(high - top)
    all_small, all_large = small.sum(axis, keepdim=True), large.sum(axis, keepdim=True)
    slack = MARGIN + gamma(shape[axis])
    least = small / (small + (all_large - large).clamp(min=0.0) + slack * all_large)
    most = large / (large + (all_small - small - slack * all_small).clamp(min=0.0))
    least = torch.nan_to_num(least * (1 - MARGIN) - SMALLEST, nan=0.0).clamp(0.0, 1.0)
    most = torch.nan_to_num(most * (1 + MARGIN) + SMALLEST, nan=1.0).clamp(0.0, 1.0)
    return least.reshape(-1), most.reshape(-1)


@rule("_log_softmax.default")
def log_softmax(builder: Builder, call: Call) -> Linear:
    """Log-softmax: I - 1 p^T is convex in p, so its norms are largest at a vertex: sqrt(n), 2 and n - 1."""
    value = only_dependent(call)
    axis = int(call.arguments["dim"]) % max(len(value.shape), 1)
    n = value.shape[axis]
    constants: Constants = {"1": max(1.0, n - 1.0), "2": OUTWARD * math.sqrt(n), "inf": 2.0}

    def enclose(_function: Function, lower: Tensor, upper: Tensor) -> Ends:
        low, high = lower.reshape(value.shape), upper.reshape(value.shape)
        least = low - torch.logsumexp(high, axis, keepdim=True)
        most = (high - torch.logsumexp(low, axis, keepdim=True)).clamp(max=0.0)
        lost = MARGIN * (1 + torch.maximum(low.abs(), high.abs()).amax(axis, keepdim=True))
        return widened(least.reshape(-1), most.reshape(-1), lost.expand(value.shape).reshape(-1))

    return builder.nonlinear(
        value,
        value.shape,
        lambda x: torch.log_softmax(x, axis + 1),
        constants,
        "normalization",
        call.origin,
        enclose,
    )


@rule("logsumexp.default")
def log_sum_exp(builder: Builder, call: Call) -> Linear:
    """Log-sum-exp: the gradient is a probability vector, so the constant is 1 in every norm."""
    value = only_dependent(call)
    dims, keepdim = call.arguments["dim"], call.arguments["keepdim"]
    batched = [dim + 1 if dim >= 0 else dim for dim in dims]
    shape = tuple(call.run(Linear.offset).shape)
    function: Callable[[Tensor], Tensor] = lambda x: torch.logsumexp(x, batched, keepdim)  # noqa: E731
    return builder.nonlinear(value, shape, function, ONE, "normalization", call.origin, rising)


def rising(function: Function, lower: Tensor, upper: Tensor) -> Ends:
    """The enclosure of a nondecreasing function that is computed to nearly full accuracy."""
    ends = function(torch.stack([lower, upper]))
    lost = MARGIN * (1 + torch.maximum(lower.abs().max(), upper.abs().max()))
    return widened(ends[0], ends[1], lost)
