"""Functions of one entry at a time, and arithmetic between tensors."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ...artifact import dtypes
from ..onnx_dtypes import from_onnx
from .table import OPS, OnnxCall, axis_of, op

Unary = Callable[[Tensor], Tensor]
Binary = Callable[[Tensor, Tensor], Tensor]

UNARY: dict[str, Unary] = {
    "Relu": torch.relu, "Sigmoid": torch.sigmoid, "Tanh": torch.tanh, "Exp": torch.exp, "Log": torch.log,
    "Sqrt": torch.sqrt, "Abs": torch.abs, "Neg": torch.neg, "Reciprocal": torch.reciprocal, "Erf": torch.erf,
    "Sin": torch.sin, "Cos": torch.cos, "Tan": torch.tan, "Asin": torch.asin, "Acos": torch.acos,
    "Atan": torch.atan, "Sinh": torch.sinh, "Cosh": torch.cosh, "Asinh": torch.asinh, "Acosh": torch.acosh,
    "Atanh": torch.atanh, "Floor": torch.floor, "Ceil": torch.ceil, "Round": torch.round, "Sign": torch.sign,
    "Softplus": F.softplus, "Softsign": F.softsign, "Mish": F.mish, "HardSwish": F.hardswish,
    "Not": torch.logical_not, "IsNaN": torch.isnan,
}  # fmt: skip

BINARY: dict[str, Binary] = {
    "Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Greater": torch.gt, "GreaterOrEqual": torch.ge,
    "Less": torch.lt, "LessOrEqual": torch.le, "Equal": torch.eq, "And": torch.logical_and,
    "Or": torch.logical_or, "Xor": torch.logical_xor,
}  # fmt: skip


def _unary(function: Unary, call: OnnxCall) -> Tensor:
    return function(call.tensor(0))


def _binary(function: Binary, call: OnnxCall) -> Tensor:
    return function(*operands(call))


OPS.update({name: functools.partial(_unary, function) for name, function in UNARY.items()})
OPS.update({name: functools.partial(_binary, function) for name, function in BINARY.items()})


def operands(call: OnnxCall) -> tuple[Tensor, Tensor]:
    """Both inputs; before operator set 7 the second one was aligned at `axis` instead of at the end."""
    a, b = call.tensor(0), call.tensor(1)
    if call.opset < 7 and call.attr("broadcast", 0) and "axis" in call.attributes:
        axis = axis_of(call, a.ndim)
        b = b.reshape([1] * axis + list(b.shape) + [1] * (a.ndim - axis - b.ndim))
    return a, b


@op("Div")
def divide(call: OnnxCall) -> Tensor:
    """Quotient; integers are truncated."""
    a, b = operands(call)
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


@op("Pow")
def power(call: OnnxCall) -> Tensor:
    """Power in the base's type; a stored exponent is written as a number."""
    a, b = operands(call)
    if call.is_exact(1) and b.numel() == 1 and b.ndim <= a.ndim:
        return torch.pow(a, call.number(1))
    return torch.pow(a, b).to(a.dtype)


@op("Mod")
def modulo(call: OnnxCall) -> Tensor:
    """Remainder with the divisor's sign, or with the dividend's when `fmod` is set."""
    a, b = operands(call)
    return torch.fmod(a, b) if call.attr("fmod", 0) else torch.remainder(a, b)


@op("Max")
def maximum(call: OnnxCall) -> Tensor:
    """Largest of any number of tensors, entry by entry."""
    return functools.reduce(torch.maximum, call.tensors())


@op("Min")
def minimum(call: OnnxCall) -> Tensor:
    """Smallest of any number of tensors, entry by entry."""
    return functools.reduce(torch.minimum, call.tensors())


@op("Sum")
def total(call: OnnxCall) -> Tensor:
    """Sum of any number of tensors."""
    return functools.reduce(torch.add, call.tensors())


@op("Mean")
def mean(call: OnnxCall) -> Tensor:
    """Mean of any number of tensors."""
    return functools.reduce(torch.add, call.tensors()) / len(call.inputs)


@op("Where")
def where(call: OnnxCall) -> Tensor:
    """Selection by a condition."""
    return torch.where(call.tensor(0), call.tensor(1), call.tensor(2))


@op("Clip")
def clip(call: OnnxCall) -> Tensor:
    """Limits from attributes (before operator set 11) or inputs, numbers where they are stored constants."""
    x = call.tensor(0)
    if call.opset < 11:
        limits = (call.attr("min", -math.inf), call.attr("max", math.inf))
        return torch.clamp(x, *(None if math.isinf(limit) else limit for limit in limits))
    if all(call.is_exact(position) or not call.has(position) for position in (1, 2)):
        return torch.clamp(x, *(call.number(p) if call.has(p) else None for p in (1, 2)))
    return torch.clamp(x, call.optional(1), call.optional(2))


@op("LeakyRelu")
def leaky_relu(call: OnnxCall) -> Tensor:
    """alpha x below zero."""
    return F.leaky_relu(call.tensor(0), call.attr("alpha", 0.01))


@op("PRelu")
def parametric_relu(call: OnnxCall) -> Tensor:
    """Learned slope below zero, one for all or one a channel; other shapes by two ReLUs."""
    x, slope = call.tensor(0), call.tensor(1)
    aligned = [1] * (x.ndim - slope.ndim) + list(slope.shape)
    if slope.numel() == 1 or (x.ndim > 1 and slope.numel() == aligned[1] == x.shape[1]):
        return F.prelu(x, slope.reshape(-1))
    return torch.relu(x) - slope * torch.relu(-x)


@op("Elu")
def elu(call: OnnxCall) -> Tensor:
    """alpha (exp(x) - 1) below zero."""
    return F.elu(call.tensor(0), call.attr("alpha", 1.0))


@op("Selu")
def selu(call: OnnxCall) -> Tensor:
    """Scaled ELU with the file's constants (defaults: the standard's, which are rounded to float32)."""
    alpha = call.attr("alpha", 1.67326319217681884765625)
    gamma = call.attr("gamma", 1.05070102214813232421875)
    scaled: Tensor = torch.ops.aten.elu(call.tensor(0), alpha, gamma)
    return scaled


@op("Celu")
def celu(call: OnnxCall) -> Tensor:
    """alpha (exp(x/alpha) - 1) below zero."""
    return F.celu(call.tensor(0), call.attr("alpha", 1.0))


@op("HardSigmoid")
def hard_sigmoid(call: OnnxCall) -> Tensor:
    """alpha x + beta, clipped to [0, 1]."""
    return torch.clamp(call.tensor(0) * call.attr("alpha", 0.2) + call.attr("beta", 0.5), 0.0, 1.0)


@op("ThresholdedRelu")
def thresholded_relu(call: OnnxCall) -> Tensor:
    """x above alpha, zero below: it jumps at alpha."""
    return F.threshold(call.tensor(0), call.attr("alpha", 1.0), 0.0)


@op("Shrink")
def shrink(call: OnnxCall) -> Tensor:
    """Soft shrinkage when bias equals lambd; otherwise it jumps."""
    x, lambd, bias = call.tensor(0), call.attr("lambd", 0.5), call.attr("bias", 0.0)
    if bias == lambd:
        return F.softshrink(x, lambd)
    return torch.where(x < -lambd, x + bias, torch.where(x > lambd, x - bias, torch.zeros_like(x)))


@op("Gelu")
def gelu(call: OnnxCall) -> Tensor:
    """x Phi(x), or its tanh approximation."""
    return F.gelu(call.tensor(0), approximate=call.attr("approximate", "none"))


@op("Swish")
def swish(call: OnnxCall) -> Tensor:
    """x sigmoid(alpha x)."""
    x, alpha = call.tensor(0), call.attr("alpha", 1.0)
    return F.silu(x) if alpha == 1.0 else x * torch.sigmoid(alpha * x)


@op("Cast")
def cast(call: OnnxCall) -> Tensor:
    """Change of element type."""
    try:
        return call.tensor(0).to(dtypes.to_torch(from_onnx(call.attr("to"))))
    except KeyError as error:
        raise call.refuse("no such element type here") from error


@op("CastLike")
def cast_like(call: OnnxCall) -> Tensor:
    """Change to another tensor's element type."""
    return call.tensor(0).to(call.tensor(1).dtype)
