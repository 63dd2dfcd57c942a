"""Elementwise functions with a finite Lipschitz constant: the range of their difference quotients.

Numbers that are not exact in floating point are rounded outwards. GELU, SiLU and Mish take their extreme
slopes where the second derivative vanishes; tests bound every range by interval arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu as leaky

from app.lipschitz.errors import UnsupportedOperator
from app.lipschitz.network.builder import Builder
from app.lipschitz.network.call import Call
from app.lipschitz.network.nodes import Slope
from app.lipschitz.network.rules.broadcast import broadcast
from app.lipschitz.network.rules.table import only_dependent, rule
from app.lipschitz.network.values import Linear
from app.lipschitz.operators.base import Shape

SlopeRule = Callable[[Call], Slope]


def elementwise(*names: str) -> Callable[[SlopeRule], SlopeRule]:
    """Register elementwise operators by the range of their difference quotients."""

    def register(slope: SlopeRule) -> SlopeRule:
        @rule(*names)
        def apply(builder: Builder, call: Call) -> Linear:
            value = broadcast(only_dependent(call), _out_shape(call))
            return builder.activation(value, _on_flat(call, value), slope(call), call.origin)

        return slope

    return register


def _out_shape(call: Call) -> Shape:
    constants = [constant.shape for constant in call.constants()]
    return tuple(torch.broadcast_shapes(only_dependent(call).shape, *constants))


def _on_flat(call: Call, value: Linear) -> Callable[[Tensor], Tensor]:
    def function(x: Tensor) -> Tensor:
        return torch.as_tensor(call.run(lambda _: x.reshape(-1, *value.shape))).reshape(x.shape)

    return function


def outward(lower: float, upper: float) -> Slope:
    """A range whose ends come from a few floating-point operations, rounded outwards."""
    margin = 2.0**-45 * max(abs(lower), abs(upper))
    return Slope(lower - margin, upper + margin)


@elementwise("relu.default", "clamp_min.default", "clamp_max.default", "clamp.default", "hardtanh.default",
             "relu6.default", "clamp.Tensor", "clamp_min.Tensor", "clamp_max.Tensor", "tanh.default",
             "atan.default", "asinh.default", "softplus.default", "softshrink.default")  # fmt: skip
def nondecreasing(_call: Call) -> Slope:
    """Nondecreasing and 1-Lipschitz."""
    return Slope(0.0, 1.0)


@elementwise("abs.default", "sin.default", "cos.default")
def one_lipschitz(_call: Call) -> Slope:
    """1-Lipschitz, rising and falling."""
    return Slope(-1.0, 1.0)


@elementwise("leaky_relu.default")
def leaky_relu(call: Call) -> Slope:
    """Slopes 1 and a."""
    a = float(call.arguments["negative_slope"])
    return Slope(min(a, 1.0), max(a, 1.0))


@rule("rrelu_with_noise.default", "rrelu_with_noise_functional.default")
def randomized_leaky_relu(builder: Builder, call: Call) -> Linear | tuple[Linear, ...]:
    """Outside training a leaky ReLU with the middle of the range as its slope."""
    if call.arguments["training"]:
        raise UnsupportedOperator(f"{call.place} is in training mode: its output is random")
    a = (float(call.arguments["lower"]) + float(call.arguments["upper"])) / 2
    slope = outward(min(a, 1.0), max(a, 1.0))
    value = builder.activation(call.arguments["input"], lambda x: leaky(x, a), slope, call.origin)
    return (value,) if "functional" in call.name else value


@elementwise("_prelu_kernel.default", "prelu.default")
def parametric_relu(call: Call) -> Slope:
    """Slopes 1 and the weights."""
    weight = call.arguments["weight"].value
    return Slope(min(float(weight.min()), 1.0), max(float(weight.max()), 1.0))


@elementwise("elu.default")
def elu(call: Call) -> Slope:
    """scale x above zero, scale alpha (exp(input_scale x) - 1) below; SELU and CELU are of this form."""
    _require_positive(call, "input_scale")
    scale, alpha = float(call.arguments["scale"]), float(call.arguments["alpha"])
    steepest = scale * alpha * float(call.arguments["input_scale"])
    return outward(min(0.0, scale, steepest), max(0.0, scale, steepest))


def _require_positive(call: Call, key: str) -> None:
    if not float(call.arguments[key]) > 0:
        raise UnsupportedOperator(f"{call.place} with {key} <= 0 grows exponentially below zero: no rule")


@elementwise("celu.default")
def celu(call: Call) -> Slope:
    """alpha (exp(x / alpha) - 1) below zero: slope at most 1."""
    _require_positive(call, "alpha")
    return Slope(0.0, 1.0)


@elementwise("sigmoid.default")
def sigmoid(_call: Call) -> Slope:
    """At most 1/4, at zero."""
    return Slope(0.0, 0.25)


@elementwise("hardsigmoid.default")
def hard_sigmoid(_call: Call) -> Slope:
    """1/6 between -3 and 3; torch multiplies by the float32 nearest to 1/6, which is a little more."""
    return outward(0.0, float(torch.tensor(1 / 6, dtype=torch.float32)))


@elementwise("hardswish.default")
def hard_swish(_call: Call) -> Slope:
    """(2 x + 3)/6 between -3 and 3."""
    return Slope(-0.5, 1.5)


@elementwise("erf.default")
def error_function(_call: Call) -> Slope:
    """2/sqrt(pi) at zero."""
    return outward(0.0, 2 / math.sqrt(math.pi))


@elementwise("gelu.default")
def gelu(call: Call) -> Slope:
    """x Phi(x): extreme at +-sqrt(2); its tanh approximation: at +-1.41850401."""
    if call.arguments["approximate"] == "tanh":
        return Slope(-0.128993068658772, 1.128993068658772)
    excess = 0.5 * math.erf(1.0) - 0.5 + math.exp(-1.0) / math.sqrt(math.pi)
    return outward(-excess, 1.0 + excess)


@elementwise("silu.default")
def silu(_call: Call) -> Slope:
    """x sigmoid(x): extreme where x tanh(x/2) = 2, at 2.39935728."""
    return Slope(-0.099839320128867, 1.099839320128867)


@elementwise("mish.default")
def mish(_call: Call) -> Slope:
    """x tanh(softplus(x)): extreme at -2.25637640 and 1.49057118."""
    return Slope(-0.112526122389463, 1.088498161251728)


@rule("log_sigmoid_forward.default")
def log_sigmoid(builder: Builder, call: Call) -> tuple[Linear, ...]:
    """log sigmoid(x), nondecreasing and 1-Lipschitz."""
    value = only_dependent(call)
    function = torch.nn.functional.logsigmoid
    return (builder.activation(value, function, Slope(0.0, 1.0), call.origin),)
