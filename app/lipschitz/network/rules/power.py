"""Powers with a dependent exponent, and the tangent: steep without bound on the whole space."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from app.lipschitz.errors import NotGloballyLipschitz, UnsupportedOperator
from app.lipschitz.network.builder import Builder
from app.lipschitz.network.call import Call
from app.lipschitz.network.ends import MARGIN, Ends, widened
from app.lipschitz.network.rules.broadcast import broadcast, diagonal
from app.lipschitz.network.rules.elementwise import Partial, elementwise, on_flat, power
from app.lipschitz.network.rules.product import elementwise_product
from app.lipschitz.network.rules.table import rule
from app.lipschitz.network.scalar import Knot, Scalar
from app.lipschitz.network.values import Constant, Linear

GROWTH = Scalar(torch.exp, (), (0.0, math.inf))


@rule("pow.Tensor_Tensor", "pow.Scalar")
def general_power(builder: Builder, call: Call) -> Linear:
    """a^b = exp(b log a); a plain power where b is one constant number."""
    base, exponent = call.arguments["input"], call.arguments["exponent"]
    if isinstance(exponent, Constant):
        return _constant_exponent(builder, call, base, exponent)
    if not isinstance(base, Linear):
        return _constant_base(builder, call, base, exponent)
    logarithm = builder.activation(base, Partial(torch.log, (Knot(0.0, -math.inf, math.inf),)), call.origin)
    product = elementwise_product(builder, call.origin, exponent, logarithm)
    return builder.activation(product, GROWTH, call.origin)


def _constant_exponent(builder: Builder, call: Call, base: Linear, exponent: Constant) -> Linear:
    numbers = exponent.value.unique()
    if len(numbers) != 1:
        raise UnsupportedOperator(f"{call.place} raises to {len(numbers)} different powers: no rule")
    value = broadcast(base, tuple(torch.broadcast_shapes(base.shape, exponent.shape)))
    single = replace(call, arguments={**call.arguments, "exponent": float(numbers)})
    return builder.activation(value, power(single, value, on_flat(call, value)), call.origin)


def _constant_base(builder: Builder, call: Call, base: Constant | float, exponent: Linear) -> Linear:
    number = torch.as_tensor(base.value if isinstance(base, Constant) else base, dtype=torch.float64)
    if not bool((number > 0).all()):
        raise NotGloballyLipschitz(f"{call.place} raises a number that is not positive to powers that vary")
    shape = tuple(torch.broadcast_shapes(exponent.shape, number.shape))
    value = broadcast(exponent, shape)
    logarithm = number.log()
    weight = Constant(logarithm, 4 * MARGIN * logarithm.abs())
    product = value.then(diagonal(weight, shape), value.offset() * logarithm, call.origin)
    return builder.activation(product, GROWTH, call.origin)


class Tangent(Scalar):
    """Rising from pole to pole; its slope 1 + tan^2 is largest at the ends of an interval between two."""

    def slopes(self, lower: Tensor, upper: Tensor) -> Ends:
        """At least 1; unbounded across a pole."""
        low, high = self.range(lower, upper)
        return torch.ones_like(low), (1 + torch.maximum(low.square(), high.square())) * (1 + MARGIN)

    def range(self, lower: Tensor, upper: Tensor) -> Ends:
        """The values at the ends; unbounded across a pole."""
        ends = torch.stack([lower, upper])
        turns = ends / math.pi + 0.5
        branch = torch.floor(turns)
        to_pole = torch.minimum(turns - branch, branch + 1 - turns).amin(0)
        across = (to_pole < MARGIN * (1 + turns.abs().amax(0))) | ~(branch[0] == branch[1])
        values = torch.tan(ends)
        least, most = widened(values[0], values[1], MARGIN * (1 + values.abs().amax(0)))
        return torch.where(across, -math.inf, least), torch.where(across, math.inf, most)


@elementwise("tan.default")
def tangent(_call: Call, _value: Linear, function: object) -> Scalar:
    """tan(x)."""
    return Tangent(torch.tan, (), (-math.inf, math.inf))
