"""Powers with a dependent exponent: steep without bound on the whole space."""

from __future__ import annotations

from dataclasses import replace

import torch

from ...errors import NotGloballyLipschitz, UnsupportedOperator
from .. import constants
from ..builder import Builder
from ..call import Call
from ..ends import MARGIN
from ..scalar import Scalar
from ..scalars import exponentials
from ..values import Constant, Linear
from .broadcast import broadcast, diagonal
from .elementwise import on_flat, power
from .product import elementwise_product
from .table import rule


def _growth() -> Scalar:
    return exponentials.exponential("exp", torch.exp)


@rule("pow.Tensor_Tensor", "pow.Scalar")
def general_power(builder: Builder, call: Call) -> Linear:
    """a^b = exp(b log a); a plain power where b is one constant number."""
    base, exponent = call.arguments["input"], call.arguments["exponent"]
    if isinstance(exponent, Constant):
        return _constant_exponent(builder, call, base, exponent)
    if not isinstance(base, Linear):
        return _constant_base(builder, call, base, exponent)
    logarithm = builder.activation(base, exponentials.logarithm("log", torch.log), call.origin)
    product = elementwise_product(builder, call.origin, exponent, logarithm)
    return builder.activation(product, _growth(), call.origin)


def _constant_exponent(builder: Builder, call: Call, base: Linear, exponent: Constant) -> Linear:
    numbers = exponent.value.unique()
    if len(numbers) != 1:
        raise UnsupportedOperator(f"{call.place} raises to {len(numbers)} different powers: no rule")
    if bool(constants.radius(exponent).any()):
        raise UnsupportedOperator(f"{call.place} raises to a computed power, which is known up to rounding: no rule")
    value = broadcast(base, tuple(torch.broadcast_shapes(base.shape, exponent.shape)))
    single = replace(call, arguments={**call.arguments, "exponent": float(numbers)})
    return builder.activation(value, power(single, value, on_flat(call, value)), call.origin)


def _constant_base(builder: Builder, call: Call, base: Constant | float, exponent: Linear) -> Linear:
    stored = base if isinstance(base, Constant) else constants.exact(float(base))
    number, radius = stored.value.to(torch.float64), constants.radius(stored).to(torch.float64)
    if not bool((number > 2 * radius).all()):
        raise NotGloballyLipschitz(f"{call.place} raises a number that is not positive to powers that vary")
    shape = tuple(torch.broadcast_shapes(exponent.shape, number.shape))
    value = broadcast(exponent, shape)
    logarithm = number.log()
    weight = Constant(logarithm, 4 * MARGIN * logarithm.abs() + 4 * radius / number)
    product = value.then(diagonal(weight, shape), value.offset() * logarithm, call.origin)
    return builder.activation(product, _growth(), call.origin)
