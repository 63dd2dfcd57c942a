"""Layers that divide by a spread computed from their own input, and softmax: global constants in closed form.

With n entries in a group, centred x and s = sqrt(var + eps), the Jacobian of layer norm is
(I - 11^T/n - x x^T / (n s^2)) / s up to the gain. Its 2-norm is at most 1/s <= 1/sqrt(eps) (attained for
constant inputs when n > 1). Its rows have 1-norm at most (2 (n-1)/n + sqrt(n-1) t/(1+t)^(3/2)) / sqrt(eps)
with t = var/eps, and t/(1+t)^(3/2) <= 2/sqrt(27); the matrix is symmetric, so columns too.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from app.lipschitz.errors import NotGloballyLipschitz
from app.lipschitz.network.builder import Builder
from app.lipschitz.network.call import Call
from app.lipschitz.network.rules.table import only_dependent, rule
from app.lipschitz.network.values import Constant, Linear
from app.lipschitz.operators.norm import Norm

OUTWARD = 1.0 + 2.0**-40
"""Covers the rounding of the closed forms below."""


def normalizer_constants(call: Call, size: int, eps: float, gain: Constant | None) -> dict[Norm, float]:
    """Lipschitz constants of x -> gain (x - mean) / sqrt(var + eps) over groups of `size` entries."""
    if eps <= 0:
        raise NotGloballyLipschitz(f"{call.place} has eps = {eps}: it is not Lipschitz around constant inputs")
    largest = 1.0 if gain is None else float(gain.value.abs().max())
    steepest = 0.0 if size == 1 else OUTWARD * largest / math.sqrt(eps)
    rows = 2 * (size - 1) / size + math.sqrt(size - 1) * 2 / math.sqrt(27)
    return {"1": steepest * rows, "2": steepest, "inf": steepest * rows}


@rule("native_layer_norm.default")
def layer_norm(builder: Builder, call: Call) -> tuple[Linear, ...]:
    """Layer norm over the trailing `normalized_shape`: max|gamma| / sqrt(eps)."""
    value, axes = only_dependent(call), len(call.arguments["normalized_shape"])
    size = math.prod(call.arguments["normalized_shape"])
    constants = normalizer_constants(call, size, call.arguments["eps"], call.arguments["weight"])
    gain, bias = (_tensor(call.arguments[key]) for key in ("weight", "bias"))
    shape, eps = value.shape[len(value.shape) - axes :], call.arguments["eps"]

    def normalize(x: Tensor) -> Tensor:
        return torch.nn.functional.layer_norm(x, shape, gain, bias, eps)

    return (builder.nonlinear(value, value.shape, normalize, constants, "normalization", call.origin),)


@rule("native_group_norm.default")
def group_norm(builder: Builder, call: Call) -> tuple[Linear, ...]:
    """Group norm: every group is a layer norm of its channels and positions."""
    value, groups = only_dependent(call), call.arguments["group"]
    gain, bias = (_tensor(call.arguments[key]) for key in ("weight", "bias"))
    size = math.prod(value.shape[1:]) // groups
    eps = call.arguments["eps"]
    constants = normalizer_constants(call, size, eps, call.arguments["weight"])
    shape = value.shape

    def normalize(x: Tensor) -> Tensor:
        flat = x.reshape(-1, *shape[1:])
        return torch.nn.functional.group_norm(flat, groups, gain, bias, eps)

    return (builder.nonlinear(value, shape, normalize, constants, "normalization", call.origin),)


def batch_statistics_norm(builder: Builder, call: Call) -> Linear:
    """Batch norm by the batch's own statistics (instance norm): a layer norm of every channel's entries."""
    value, eps = only_dependent(call), call.arguments["eps"]
    size = math.prod(value.shape) // value.shape[1]
    constants = normalizer_constants(call, size, eps, call.arguments["weight"])
    gain, bias = (_tensor(call.arguments[key]) for key in ("weight", "bias"))
    channels = value.shape[1]
    axes = (1, *range(3, len(value.shape) + 1))

    def normalize(x: Tensor) -> Tensor:
        column = (channels, *[1] * (x.ndim - 3))
        spread, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
        centred = (x - mean) / torch.sqrt(spread + eps)
        scaled = centred if gain is None else centred * gain.reshape(column)
        return scaled if bias is None else scaled + bias.reshape(column)

    return builder.nonlinear(value, value.shape, normalize, constants, "normalization", call.origin)


@rule("_softmax.default")
def softmax(builder: Builder, call: Call) -> Linear:
    """Softmax: diag(p) - p p^T has 2-norm at most 1/2 and absolute row sums 2 p_i (1 - p_i) <= 1/2."""
    value, dim = only_dependent(call), _batched(call)
    half: dict[Norm, float] = {"1": 0.5, "2": 0.5, "inf": 0.5}
    return builder.nonlinear(value, value.shape, lambda x: torch.softmax(x, dim), half, "normalization", call.origin)


@rule("_log_softmax.default")
def log_softmax(builder: Builder, call: Call) -> Linear:
    """Log-softmax: I - 1 p^T is convex in p, so its norms are largest at a vertex: sqrt(n), 2 and n - 1."""
    value, dim = only_dependent(call), _batched(call)
    n = value.shape[call.arguments["dim"]]
    constants: dict[Norm, float] = {"1": max(1.0, n - 1.0), "2": OUTWARD * math.sqrt(n), "inf": 2.0}
    return builder.nonlinear(
        value, value.shape, lambda x: torch.log_softmax(x, dim), constants, "normalization", call.origin
    )


@rule("logsumexp.default")
def log_sum_exp(builder: Builder, call: Call) -> Linear:
    """Log-sum-exp: the gradient is a probability vector, so the constant is 1 in every norm."""
    value = only_dependent(call)
    dims, keepdim = call.arguments["dim"], call.arguments["keepdim"]
    batched = [dim + 1 if dim >= 0 else dim for dim in dims]
    shape = tuple(call.run(Linear.offset).shape)
    one: dict[Norm, float] = {"1": 1.0, "2": 1.0, "inf": 1.0}
    return builder.nonlinear(
        value, shape, lambda x: torch.logsumexp(x, batched, keepdim), one, "normalization", call.origin
    )


def _batched(call: Call) -> int:
    dim = int(call.arguments["dim"])
    return dim + 1 if dim >= 0 else dim


def _tensor(constant: Constant | None) -> Tensor | None:
    return None if constant is None else constant.value
