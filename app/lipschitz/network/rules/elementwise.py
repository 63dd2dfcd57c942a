"""Elementwise functions: where their derivative is extreme or jumps, its limits, and where they turn.

Numbers that are not exact in floating point are rounded outwards; tests check every range by interval
arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu as leaky
from torch.nn.functional import logsigmoid

from app.lipschitz.errors import Discontinuous, UnsupportedOperator
from app.lipschitz.network.builder import Builder
from app.lipschitz.network.call import Call
from app.lipschitz.network.rules.broadcast import broadcast
from app.lipschitz.network.rules.table import only_dependent, rule
from app.lipschitz.network.scalar import Entries, Knot, Scalar
from app.lipschitz.network.values import Constant, Linear
from app.lipschitz.operators.base import Shape

Shaped = Callable[[Call, Linear, Callable[[Tensor], Tensor]], Scalar]

DESCRIBED: dict[str, Shaped] = {}
"""Elementwise operators by name, each with the function that describes it."""


CANCELLED = 2.0**-48
"""Absolute error of derivatives such as 1 - tanh^2, where they are almost zero."""


SIXTH = float(torch.tensor(1 / 6, dtype=torch.float32))
"""What torch multiplies by where 1/6 is meant: a little more."""


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
    constants = [constant.shape for constant in call.constants()]
    return tuple(torch.broadcast_shapes(only_dependent(call).shape, *constants))


def on_flat(call: Call, value: Linear) -> Callable[[Tensor], Tensor]:
    """The operator on flat batches `(B, n)`."""

    def function(x: Tensor) -> Tensor:
        return torch.as_tensor(call.run(lambda _: x.reshape(x.shape[0], *value.shape))).reshape(x.shape)

    return function


def flat(entries: Constant | float | None, value: Linear) -> Entries:
    """A parameter as one number, or as one an entry of `value`."""
    if not isinstance(entries, Constant):
        return 0.0 if entries is None else float(entries)
    return entries.value.to(torch.float64).expand(value.shape).reshape(-1)


def outward(lower: float, upper: float) -> tuple[float, float]:
    """A range whose ends come from a few floating-point operations, rounded outwards."""
    margin = 2.0**-45 * max(abs(lower), abs(upper))
    return lower - margin, upper + margin


@elementwise("relu.default")
def relu(_call: Call, _value: Linear, function: Callable[[Tensor], Tensor]) -> Scalar:
    """max(x, 0)."""
    return Scalar(function, (Knot(0.0, 0.0, 1.0),), (0.0, 1.0))


@elementwise("clamp.default", "clamp.Tensor", "clamp_min.default", "clamp_min.Tensor", "clamp_max.default",
             "clamp_max.Tensor", "hardtanh.default", "relu6.default")  # fmt: skip
def clamp(call: Call, value: Linear, function: Callable[[Tensor], Tensor]) -> Scalar:
    """Constant outside [a, b], the identity inside."""
    low, high = (0.0, 6.0) if call.name == "aten.relu6.default" else _limits(call)
    knots = tuple(Knot(flat(end, value), 0.0, 1.0) for end in (low, high) if end is not None)
    return Scalar(function, knots, (float(low is None), float(high is None)))


def _limits(call: Call) -> tuple[Constant | float | None, ...]:
    names = (("min", "min_val"), ("max", "max_val"))
    given = [[call.arguments[key] for key in keys if call.arguments.get(key) is not None] for keys in names]
    return tuple(ends[0] if ends else None for ends in given)


@elementwise("softshrink.default")
def soft_shrink(call: Call, _value: Linear, function: Callable[[Tensor], Tensor]) -> Scalar:
    """Zero within [-lambda, lambda], slope 1 outside."""
    width = float(call.arguments["lambd"])
    return Scalar(function, (Knot(-width, 0.0, 1.0), Knot(width, 0.0, 1.0)), (1.0, 1.0))


@elementwise("threshold.default")
def threshold(call: Call, _value: Linear, function: Callable[[Tensor], Tensor]) -> Scalar:
    """x above a threshold, a constant below: continuous only where the two are the same number."""
    at, below = float(call.arguments["threshold"]), float(call.arguments["value"])
    if at != below:
        raise Discontinuous(f"{call.place} jumps from {below:g} to {at:g} at {at:g}: it has no finite constant there")
    return Scalar(function, (Knot(at, 0.0, 1.0),), (0.0, 1.0))


@elementwise("tanh.default", "atan.default", "asinh.default")
def bell(_call: Call, _value: Linear, function: Callable[[Tensor], Tensor]) -> Scalar:
    """Steepest at zero, where the slope is 1; flat far away."""
    return Scalar(function, (Knot(0.0, 1.0, 1.0),), rounding=CANCELLED)


@elementwise("sigmoid.default")
def sigmoid(_call: Call, _value: Linear, function: Callable[[Tensor], Tensor]) -> Scalar:
    """Steepest at zero, where the slope is 1/4."""
    return Scalar(function, (Knot(0.0, 0.25, 0.25),), rounding=CANCELLED)


@elementwise("erf.default")
def error_function(_call: Call, _value: Linear, function: Callable[[Tensor], Tensor]) -> Scalar:
    """Steepest at zero, where the slope is 2/sqrt(pi)."""
    return Scalar(function, (Knot(0.0, *outward(2 / math.sqrt(math.pi), 2 / math.sqrt(math.pi))),))


@elementwise("softplus.default")
def softplus(call: Call, _value: Linear, _function: Callable[[Tensor], Tensor]) -> Scalar:
    """log(1 + exp(beta x)) / beta, convex. torch jumps by 2e-9 where it switches to the identity; the function
    meant has no jump.
    """
    beta, threshold = float(call.arguments["beta"]), float(call.arguments["threshold"])
    if not (beta > 0 and threshold >= 20):
        raise UnsupportedOperator(f"{call.place} with beta {beta:g} and threshold {threshold:g} has no rule")
    return Scalar(lambda x: torch.logaddexp(beta * x, torch.zeros_like(x)) / beta, (), (0.0, 1.0))


@elementwise("abs.default")
def absolute(_call: Call, _value: Linear, function: Callable[[Tensor], Tensor]) -> Scalar:
    """|x|."""
    return Scalar(function, (Knot(0.0, -1.0, 1.0),), (-1.0, 1.0), (0.0,))


@elementwise("leaky_relu.default")
def leaky_relu(call: Call, _value: Linear, function: Callable[[Tensor], Tensor]) -> Scalar:
    """Slope a below zero, 1 above."""
    return _two_slopes(function, float(call.arguments["negative_slope"]))


@elementwise("_prelu_kernel.default", "prelu.default")
def parametric_relu(call: Call, value: Linear, function: Callable[[Tensor], Tensor]) -> Scalar:
    """A slope of its own for every entry below zero, 1 above."""
    return _two_slopes(function, flat(call.arguments["weight"], value))


def _two_slopes(function: Callable[[Tensor], Tensor], below: Entries) -> Scalar:
    pair = torch.stack(torch.broadcast_tensors(torch.as_tensor(below, dtype=torch.float64), torch.tensor(1.0)))
    return Scalar(function, (Knot(0.0, pair.amin(0), pair.amax(0)),), (below, 1.0), (0.0,))


@rule("rrelu_with_noise.default", "rrelu_with_noise_functional.default")
def randomized_leaky_relu(builder: Builder, call: Call) -> Linear | tuple[Linear, ...]:
    """Outside training a leaky ReLU with the middle of the range as its slope."""
    if call.arguments["training"]:
        raise UnsupportedOperator(f"{call.place} is in training mode: its output is random")
    a = (float(call.arguments["lower"]) + float(call.arguments["upper"])) / 2
    value = builder.activation(call.arguments["input"], _two_slopes(lambda x: leaky(x, a), a), call.origin)
    return (value,) if "functional" in call.name else value


@elementwise("elu.default")
def elu(call: Call, _value: Linear, function: Callable[[Tensor], Tensor]) -> Scalar:
    """scale x above zero, scale alpha (exp(input_scale x) - 1) below; SELU is of this form."""
    _require_positive(call, "input_scale")
    scale = float(call.arguments["scale"])
    steepest = scale * float(call.arguments["alpha"]) * float(call.arguments["input_scale"])
    return Scalar(function, (Knot(0.0, *outward(min(scale, steepest), max(scale, steepest))),), (0.0, scale), (0.0,))


@elementwise("celu.default")
def celu(call: Call, _value: Linear, function: Callable[[Tensor], Tensor]) -> Scalar:
    """alpha (exp(x / alpha) - 1) below zero, the identity above: slopes meet at 1."""
    _require_positive(call, "alpha")
    return Scalar(function, (Knot(0.0, 1.0, 1.0),), (0.0, 1.0))


def _require_positive(call: Call, key: str) -> None:
    if not float(call.arguments[key]) > 0:
        raise UnsupportedOperator(f"{call.place} with {key} <= 0 grows exponentially below zero: no rule")


@elementwise("hardsigmoid.default")
def hard_sigmoid(_call: Call, _value: Linear, function: Callable[[Tensor], Tensor]) -> Scalar:
    """1/6 between -3 and 3; torch multiplies by the float32 nearest to 1/6, which is a little more."""
    steepest = outward(0.0, SIXTH)[1]
    return Scalar(function, (Knot(-3.0, 0.0, steepest), Knot(3.0, 0.0, steepest)))


@elementwise("hardswish.default")
def hard_swish(_call: Call, _value: Linear, function: Callable[[Tensor], Tensor]) -> Scalar:
    """x clip(x + 3, 0, 6) / 6: slope (2 x + 3)/6 between -3 and 3; torch multiplies by a float32 1/6 here too."""
    more = SIXTH / (1 / 6)
    knots = (Knot(-3.0, *outward(-0.5 * more, 0.0)), Knot(3.0, *outward(1.0, 1.5 * more)))
    return Scalar(function, knots, (0.0, more), (-1.5, -3.0))


@elementwise("gelu.default")
def gelu(call: Call, _value: Linear, function: Callable[[Tensor], Tensor]) -> Scalar:
    """x Phi(x), derivative extreme at +-sqrt(2); its tanh approximation, extreme at +-1.41850401."""
    if call.arguments["approximate"] == "tanh":
        return _swish_like(function, 1.4185040087908284, 0.128993068658772, -0.7524614220710162)
    excess = 0.5 * math.erf(1.0) - 0.5 + math.exp(-1.0) / math.sqrt(math.pi)
    return _swish_like(function, math.sqrt(2.0), excess, -0.7517915246935645)


@elementwise("silu.default")
def silu(_call: Call, _value: Linear, function: Callable[[Tensor], Tensor]) -> Scalar:
    """x sigmoid(x): derivative extreme where x tanh(x/2) = 2, at +-2.39935728."""
    return _swish_like(function, 2.399357280515468, 0.099839320128867, -1.2784645427610738)


def _swish_like(function: Callable[[Tensor], Tensor], extreme: float, excess: float, turn: float) -> Scalar:
    """Slopes from -excess to 1 + excess, symmetric about (0, 1/2)."""
    low, high = outward(-excess, 1.0 + excess)
    knots = (Knot(-extreme, low, low), Knot(extreme, high, high))
    return Scalar(function, knots, (0.0, 1.0), (turn,), CANCELLED)


@elementwise("mish.default")
def mish(_call: Call, _value: Linear, function: Callable[[Tensor], Tensor]) -> Scalar:
    """x tanh(softplus(x)): derivative extreme at -2.25637640 and 1.49057118."""
    low, high = outward(-0.112526122389463, 1.088498161251728)
    knots = (Knot(-2.2563763963607931, low, low), Knot(1.4905711794854285, high, high))
    return Scalar(function, knots, (0.0, 1.0), (-1.1924312145100772,), CANCELLED)


@rule("log_sigmoid_forward.default")
def log_sigmoid(builder: Builder, call: Call) -> tuple[Linear, ...]:
    """log sigmoid(x), concave."""
    return (builder.activation(only_dependent(call), Scalar(logsigmoid, (), (1.0, 0.0)), call.origin),)


@elementwise("sin.default", "cos.default")
def wave(_call: Call, _value: Linear, function: Callable[[Tensor], Tensor]) -> Scalar:
    """Too many turns to list: every interval counts as a whole period."""
    return Wave(function, (), (-1.0, 1.0))


class Wave(Scalar):
    """Sine and cosine: slopes and values in [-1, 1]."""

    def slopes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """[-1, 1]."""
        return torch.full_like(lower, -1.0), torch.full_like(upper, 1.0)

    def range(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """[-1, 1]."""
        return torch.full_like(lower, -1.0), torch.full_like(upper, 1.0)


@elementwise("exp.default", "expm1.default", "exp2.default")
def exponential(_call: Call, _value: Linear, function: Callable[[Tensor], Tensor]) -> Scalar:
    """Convex, unbounded slope."""
    return Scalar(function, (), (0.0, math.inf))


@elementwise("square.default")
def square(_call: Call, _value: Linear, function: Callable[[Tensor], Tensor]) -> Scalar:
    """x^2."""
    return Scalar(function, (), (-math.inf, math.inf), (0.0,))


class Partial(Scalar):
    """A function on the positive side of `START` only, infinitely steep or undefined at and below it."""

    START = 0.0

    def slopes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Unbounded unless the interval stays above the start."""
        least, most = super().slopes(lower, upper)
        outside = lower <= self.START
        return torch.where(outside, -math.inf, least), torch.where(outside, math.inf, most)


class PartialFromMinusOne(Partial):
    """The same for log(1 + x)."""

    START = -1.0


@elementwise("sqrt.default", "log.default", "log2.default", "log10.default", "rsqrt.default")
def partial_function(_call: Call, _value: Linear, function: Callable[[Tensor], Tensor]) -> Scalar:
    """Defined for positive x, monotone, with a monotone derivative."""
    return Partial(function, (Knot(0.0, -math.inf, math.inf),))


@elementwise("log1p.default")
def logarithm_from_minus_one(_call: Call, _value: Linear, function: Callable[[Tensor], Tensor]) -> Scalar:
    """log(1 + x)."""
    return PartialFromMinusOne(function, (Knot(-1.0, -math.inf, math.inf),))


class Pole(Scalar):
    """A function with a pole at zero: an interval that holds zero has no bounds."""

    def range(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Unbounded around the pole."""
        least, most = super().range(lower, upper)
        across = (lower <= 0) & (upper >= 0)
        return torch.where(across, -math.inf, least), torch.where(across, math.inf, most)


@elementwise("reciprocal.default")
def reciprocal(_call: Call, _value: Linear, function: Callable[[Tensor], Tensor]) -> Scalar:
    """1/x."""
    return Pole(function, (Knot(0.0, -math.inf, math.inf),))


@elementwise("pow.Tensor_Scalar")
def power(call: Call, _value: Linear, function: Callable[[Tensor], Tensor]) -> Scalar:
    """x^a: the derivative a x^(a-1) is monotone on either side of zero; a fraction needs positive x."""
    exponent = float(call.arguments["exponent"])
    if exponent in (0.0, 1.0):
        return Scalar(function, (), (exponent, exponent))
    if exponent % 1:
        return Partial(function, (Knot(0.0, -math.inf, math.inf),))
    if exponent < 0:
        return Pole(function, (Knot(0.0, -math.inf, math.inf),))
    return Scalar(function, (Knot(0.0, 0.0, 0.0),), (-math.inf, math.inf), (0.0,))
