"""Elementwise operators: which scalar function each stands for, with which parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ...errors import Discontinuous, UnsupportedOperator
from ...operators.base import Shape
from ...operators.reshape import Reshape
from .. import constants
from ..builder import Builder
from ..call import Call
from ..nodes import Input
from ..scalar import Place, Scalar
from ..scalars import exponentials, powers, rectifiers, sigmoids, swishes, waves
from ..values import Constant, Linear
from .broadcast import broadcast
from .table import only_dependent, rule

Function = Callable[[Tensor], Tensor]
Shaped = Callable[[Call, Linear, Function], Scalar]

DESCRIBED: dict[str, Shaped] = {}
"""Elementwise operators by name, each with the function that describes it."""


def elementwise(*names: str) -> Callable[[Shaped], Shaped]:
    """Register elementwise operators by a function that describes them as a `Scalar`."""

    def register(describe: Shaped) -> Shaped:
        DESCRIBED.update(dict.fromkeys(names, describe))

        @rule(*names)
        def apply(builder: Builder, call: Call) -> Linear:
            value = broadcast(only_dependent(call), _out_shape(call))
            return builder.activation(value, describe(call, value, on_flat(call, value)), call.origin)

        return describe

    return register


def _out_shape(call: Call) -> Shape:
    shapes = [constant.shape for constant in call.constants()]
    return tuple(torch.broadcast_shapes(only_dependent(call).shape, *shapes))


def on_flat(call: Call, value: Linear) -> Function:
    """The operator on flat batches `(B, n)`."""

    def function(x: Tensor) -> Tensor:
        return torch.as_tensor(call.run(lambda _: x.reshape(x.shape[0], *value.shape))).reshape(x.shape)

    return function


def described(call: Call, shapes: Sequence[Shape]) -> Scalar:
    """The function that an elementwise call stands for, on flat vectors of what `shapes` broadcast to."""
    shape = tuple(torch.broadcast_shapes(*shapes))
    value = Linear(Input(shape, ()), Reshape(shape, shape))
    bound = replace(call, arguments={**call.arguments, "input": value})
    return DESCRIBED[call.name.removeprefix("aten.")](bound, value, on_flat(bound, value))


def place(entries: Constant | float, value: Linear) -> Place:
    """A parameter as one number, or as one an entry of `value`; a computed one with its rounding."""
    if not isinstance(entries, Constant):
        return Place(float(entries))
    numbers, radius = (_spread(part, value) for part in (entries.value, constants.radius(entries)))
    return Place(numbers, radius if bool(radius.any()) else 0.0)


def _spread(entries: Tensor, value: Linear) -> Tensor:
    return entries.to(torch.float64).expand(value.shape).reshape(-1)


@elementwise("relu.default")
def relu(_call: Call, _value: Linear, _function: Function) -> Scalar:
    """max(x, 0)."""
    return rectifiers.relu()


@elementwise("clamp.default", "clamp.Tensor", "clamp_min.default", "clamp_min.Tensor", "clamp_max.default",
             "clamp_max.Tensor", "hardtanh.default", "relu6.default")  # fmt: skip
def clamp(call: Call, value: Linear, function: Function) -> Scalar:
    """Constant outside [a, b], the identity inside."""
    low, high = (0.0, 6.0) if call.name == "aten.relu6.default" else _limits(call)
    ends = [None if end is None else place(end, value) for end in (low, high)]
    return rectifiers.clip(ends[0], ends[1], function)


def _limits(call: Call) -> tuple[Constant | float | None, ...]:
    names = (("min", "min_val"), ("max", "max_val"))
    given = [[call.arguments[key] for key in keys if call.arguments.get(key) is not None] for keys in names]
    return tuple(ends[0] if ends else None for ends in given)


@elementwise("softshrink.default")
def soft_shrink(call: Call, _value: Linear, _function: Function) -> Scalar:
    """Zero within [-lambda, lambda], slope 1 outside."""
    return rectifiers.soft_shrink(float(call.arguments["lambd"]))


@elementwise("threshold.default")
def threshold(call: Call, _value: Linear, function: Function) -> Scalar:
    """x above a threshold, a constant below: continuous only where the two are the same number."""
    at, below = float(call.arguments["threshold"]), float(call.arguments["value"])
    if at != below:
        raise Discontinuous(f"{call.place} jumps from {below:g} to {at:g} at {at:g}: it has no finite constant there")
    return rectifiers.clip(Place(at), None, function)


PLAIN: dict[str, Callable[[], Scalar]] = {
    "tanh.default": sigmoids.tanh,
    "atan.default": sigmoids.atan,
    "asinh.default": sigmoids.asinh,
    "sigmoid.default": sigmoids.sigmoid,
    "erf.default": sigmoids.erf,
    "abs.default": rectifiers.absolute,
    "hardsigmoid.default": rectifiers.hard_sigmoid,
    "hardswish.default": rectifiers.hard_swish,
    "silu.default": swishes.silu,
    "mish.default": swishes.mish,
    "square.default": powers.square,
    "reciprocal.default": powers.reciprocal,
}
"""Functions without parameters."""


@elementwise(*PLAIN)
def plain(call: Call, _value: Linear, _function: Function) -> Scalar:
    """A function without parameters."""
    return PLAIN[call.name.removeprefix("aten.")]()


@elementwise("softplus.default")
def softplus(call: Call, _value: Linear, _function: Function) -> Scalar:
    """log(1 + exp(beta x)) / beta."""
    beta, threshold = float(call.arguments["beta"]), float(call.arguments["threshold"])
    if not (0 < beta < math.inf and threshold >= 20):
        raise UnsupportedOperator(f"{call.place} with beta {beta:g} and threshold {threshold:g} has no rule")
    return sigmoids.softplus(beta)


@elementwise("leaky_relu.default")
def leaky_relu(call: Call, _value: Linear, _function: Function) -> Scalar:
    """Slope a below zero, 1 above."""
    return rectifiers.leaky(Place(float(call.arguments["negative_slope"])))


@elementwise("_prelu_kernel.default")
def parametric_relu(call: Call, value: Linear, _function: Function) -> Scalar:
    """A slope of its own for every entry below zero, 1 above."""
    slopes = place(call.arguments["weight"], value)
    if isinstance(slopes.radius, Tensor) and not bool(torch.isfinite(slopes.radius).all()):
        raise UnsupportedOperator(f"{call.place} has slopes that are computed with an unknown rounding error")
    return rectifiers.leaky(slopes)


@rule("rrelu_with_noise.default", "rrelu_with_noise_functional.default")
def randomized_leaky_relu(builder: Builder, call: Call) -> Linear | tuple[Linear, ...]:
    """Outside training a leaky ReLU with the middle of the range as its slope."""
    if call.arguments["training"]:
        raise UnsupportedOperator(f"{call.place} is in training mode: its output is random")
    middle = (float(call.arguments["lower"]) + float(call.arguments["upper"])) / 2
    value = builder.activation(call.arguments["input"], rectifiers.leaky(Place.near(middle)), call.origin)
    return (value,) if "functional" in call.name else value


@elementwise("elu.default")
def elu(call: Call, _value: Linear, function: Function) -> Scalar:
    """scale x above zero, scale alpha (exp(input_scale x) - 1) below; SELU is of this form."""
    _require_positive(call, "input_scale")
    alpha, scale, input_scale = (float(call.arguments[key]) for key in ("alpha", "scale", "input_scale"))
    return exponentials.elu(alpha, scale, input_scale, function)


@elementwise("celu.default")
def celu(call: Call, _value: Linear, _function: Function) -> Scalar:
    """alpha (exp(x / alpha) - 1) below zero, the identity above: slopes meet at 1."""
    _require_positive(call, "alpha")
    return exponentials.celu(float(call.arguments["alpha"]))


def _require_positive(call: Call, key: str) -> None:
    if not float(call.arguments[key]) > 0:
        raise UnsupportedOperator(f"{call.place} with {key} <= 0 grows exponentially below zero: no rule")


@elementwise("gelu.default")
def gelu(call: Call, _value: Linear, _function: Function) -> Scalar:
    """x Phi(x), or its tanh approximation."""
    return swishes.tanh_gelu() if call.arguments["approximate"] == "tanh" else swishes.gelu()


@rule("log_sigmoid_forward.default")
def log_sigmoid(builder: Builder, call: Call) -> tuple[Linear, ...]:
    """log sigmoid(x), concave."""
    return (builder.activation(only_dependent(call), sigmoids.log_sigmoid(), call.origin),)


@elementwise("sin.default", "cos.default")
def wave(call: Call, _value: Linear, function: Function) -> Scalar:
    return waves.Wave(function, 0.25 if _short(call) == "sin" else 0.0)


@elementwise("tan.default")
def tangent(_call: Call, _value: Linear, function: Function) -> Scalar:
    """tan(x)."""
    return waves.Tangent(function)


@elementwise("exp.default", "expm1.default", "exp2.default")
def exponential(call: Call, _value: Linear, function: Function) -> Scalar:
    return exponentials.exponential(_short(call), function)


@elementwise("log.default", "log2.default", "log10.default", "log1p.default")
def logarithm(call: Call, _value: Linear, function: Function) -> Scalar:
    """Defined for positive x, or for x > -1."""
    return exponentials.logarithm(_short(call), function)


def _short(call: Call) -> str:
    return call.name.split(".")[1]


@elementwise("sqrt.default", "rsqrt.default")
def root(call: Call, _value: Linear, function: Function) -> Scalar:
    """Defined for positive x."""
    return powers.sqrt(function) if _short(call) == "sqrt" else powers.rsqrt(function)


@elementwise("pow.Tensor_Scalar")
def power(call: Call, _value: Linear, function: Function) -> Scalar:
    """x^a."""
    exponent = float(call.arguments["exponent"])
    if not math.isfinite(exponent):
        raise UnsupportedOperator(f"{call.place} with exponent {exponent:g} has no rule")
    return powers.power(exponent, function)
