"""Products and quotients of two dependent values: Lipschitz on bounded sets only.

A node keeps both factors; the walk finds its constant from the intervals of their values.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from app.lipschitz.artifact.captured import Origin
from app.lipschitz.errors import UnsupportedOperator
from app.lipschitz.network.builder import Builder
from app.lipschitz.network.call import Call
from app.lipschitz.network.nodes import MatrixProduct, Nonlinear, Product
from app.lipschitz.network.rules.broadcast import broadcast, diagonal
from app.lipschitz.network.rules.table import only_dependent, rule
from app.lipschitz.network.scalars import powers, sigmoids
from app.lipschitz.network.values import Constant, Linear
from app.lipschitz.operators.base import Shape
from app.lipschitz.operators.gather import Gather
from app.lipschitz.operators.reshape import Reshape

LONGEST = 64
"""Most factors of a product over an axis."""


def elementwise_product(builder: Builder, origin: Origin, left: Linear, right: Linear) -> Linear:
    """left * right with broadcasting; the square of one value is an activation."""
    shape = tuple(torch.broadcast_shapes(left.shape, right.shape))
    a, b = broadcast(left, shape), broadcast(right, shape)
    first, second = builder.emit(a), builder.emit(b)
    if first is second:
        return builder.activation(a, powers.square(), origin)
    return builder.append(Product(shape, (origin,), first, second))


def quotient(builder: Builder, call: Call) -> Linear:
    """A dependent or constant value over a dependent one: times its reciprocal, which has a pole at zero."""
    over, divisor = call.arguments["input"], call.arguments["other"]
    inverse = builder.activation(divisor, powers.reciprocal(), call.origin)
    if isinstance(over, Linear):
        return elementwise_product(builder, call.origin, over, inverse)
    shape = tuple(torch.broadcast_shapes(over.shape, inverse.shape))
    expanded = broadcast(inverse, shape)
    return expanded.then(diagonal(over, shape), torch.zeros(shape, dtype=torch.float64), call.origin, over.parameters)


def matrix_product(builder: Builder, origin: Origin, left: Linear, right: Linear) -> Linear:
    """left @ right for two matrices, a matrix and a vector, or two batches of matrices."""
    b, n, k, m = _sizes(left.shape, right.shape)
    first, second = builder.emit(left), builder.emit(right)
    stochastic = isinstance(first, Nonlinear) and first.simplex == k
    shape = _product_shape(left.shape, right.shape)
    return builder.append(MatrixProduct(shape, (origin,), first, second, (b, n, k, m), stochastic))


def _sizes(left: Shape, right: Shape) -> tuple[int, int, int, int]:
    columns = right[-1] if len(right) > 1 else 1
    return math.prod(left[:-2]), left[-2], left[-1], columns


def _product_shape(left: Shape, right: Shape) -> Shape:
    return (*left[:-1], right[-1]) if len(right) > 1 else left[:-1]


def entries(value: Linear, index: Tensor) -> Linear:
    """The entries of `value` at flat positions, in the shape of `index`."""
    gather = Gather(value.shape, tuple(index.shape), index.reshape(-1))
    return value.then(gather, value.offset().reshape(-1)[index], None)


def positions(value: Linear) -> Tensor:
    """The flat position of every entry, in the value's shape."""
    return torch.arange(value.operator.out_size).reshape(value.shape)


@rule("prod.dim_int", "prod.default")
def product_over_axis(builder: Builder, call: Call) -> Linear:
    """The factors along one axis, or all of them, one after the other."""
    value = only_dependent(call)
    index = positions(value)
    axis = call.arguments.get("dim")
    factors = (index.reshape(-1) if axis is None else index).unbind(0 if axis is None else axis)
    if len(factors) > LONGEST:
        raise UnsupportedOperator(f"{call.place} multiplies {len(factors)} values; at most {LONGEST} have a rule")
    result = entries(value, factors[0])
    for factor in factors[1:]:
        result = elementwise_product(builder, call.origin, result, entries(value, factor))
    shape = tuple(call.run(Linear.offset).shape)
    return result.then(Reshape(result.shape, shape), result.offset().reshape(shape), None)


@rule("glu.default")
def gated_linear_unit(builder: Builder, call: Call) -> Linear:
    """a sigmoid(b) for the halves a, b of one axis."""
    value = only_dependent(call)
    first, second = (entries(value, half) for half in positions(value).chunk(2, call.arguments["dim"]))
    gate = builder.activation(second, sigmoids.sigmoid(), call.origin)
    return elementwise_product(builder, call.origin, first, gate)


def scaled(value: Linear, weight: Constant, origin: Origin) -> Linear:
    """`weight * value` for a weight that broadcasts to the value's shape."""
    offset = value.offset() * weight.value
    return value.then(diagonal(weight, value.shape), offset, origin)
