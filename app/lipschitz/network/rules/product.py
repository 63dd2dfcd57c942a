"""Products and quotients of two dependent values: Lipschitz on bounded sets only.

A node keeps both factors; the walk finds its constant from the intervals of their values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...artifact.captured import Origin
from ...errors import UnsupportedOperator
from ...operators.base import Shape
from ...operators.gather import Gather
from ...operators.rounding import gamma
from ...operators.scaling import safe_norm
from ..builder import Builder
from ..call import Call
from ..ends import MARGIN, Ends, magnitude
from ..ends import product as multiplied
from ..nodes import Constants, Function, Nonlinear
from ..products import MatrixProduct, Product
from ..scalars import powers, sigmoids
from ..values import Constant, Linear
from .broadcast import broadcast, diagonal
from .table import only_dependent, rule

LONGEST = 500
"""Most factors of a product over an axis: mantissas alone do not underflow."""
LEAST = 2.0**-1060
"""More than a product loses among subnormal numbers."""


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


@dataclass(frozen=True, eq=False)
class Factors:
    """x -> the products over groups of entries; `index` is `(groups, n)`, flat positions.

    The derivative by one factor is the product of all others, at most that of their largest sizes.
    """

    index: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """`(B, *shape)` -> `(B, groups)`."""
        return x.flatten(1)[:, self.index].prod(-1)

    def constants(self) -> Constants:
        """On the whole space."""
        constant = 1.0 if self.index.shape[1] == 1 else math.inf
        return {"1": constant, "2": constant, "inf": constant}

    def local(self, lower: Tensor, upper: Tensor) -> Constants:
        """On `lower <= x <= upper`."""
        others = self._others(magnitude((lower, upper))[self.index])
        up = 1.0 + MARGIN + gamma(self.index.shape[1])
        lengths = float(others.max()), float(safe_norm(others, 2.0, dim=1).max()), float(others.sum(1).max())
        one, two, most = (length * up + LEAST for length in lengths)
        return {"1": one, "2": two, "inf": most}

    def _others(self, sizes: Tensor) -> Tensor:
        """For every entry the product of the others of its group, rounded up; exponents apart: none underflows."""
        n = sizes.shape[1]
        mantissas, exponents = torch.frexp(sizes)
        ones = torch.ones_like(mantissas[:, :1])
        before = torch.cat([ones, mantissas[:, :-1]], 1).cumprod(1)
        after = torch.cat([mantissas[:, 1:], ones], 1).flip(1).cumprod(1).flip(1)
        powers = exponents.sum(1, keepdim=True) - exponents
        product = torch.ldexp(before * after, powers) * (1.0 + MARGIN + gamma(n)) + LEAST
        return torch.nan_to_num(product, nan=math.inf, posinf=math.inf)

    def range(self, _function: Function, lower: Tensor, upper: Tensor) -> Ends:
        """One factor after the other."""
        ends = torch.ones_like(lower[self.index[:, 0]]), torch.ones_like(lower[self.index[:, 0]])
        for column in self.index.T:
            ends = multiplied(ends, (lower[column], upper[column]))
        return ends


@rule("prod.dim_int", "prod.default")
def product_over_axis(builder: Builder, call: Call) -> Linear:
    """The product of the entries along one axis, or of all."""
    value = only_dependent(call)
    shape = tuple(call.run(Linear.offset).shape)
    axis = call.arguments.get("dim")
    index = value.positions().reshape(1, -1) if axis is None else value.positions().movedim(axis, -1)
    if index.shape[-1] > LONGEST:
        raise UnsupportedOperator(f"{call.place} multiplies {index.shape[-1]} values; at most {LONGEST} have a rule")
    layer = Factors(index.reshape(-1, index.shape[-1]))
    return builder.nonlinear(
        value, shape, layer, layer.constants(), "merge", origin=call.origin, enclosure=layer.range, local=layer.local
    )


@rule("glu.default")
def gated_linear_unit(builder: Builder, call: Call) -> Linear:
    """a sigmoid(b) for the halves a, b of one axis."""
    value = only_dependent(call)
    first, second = (entries(value, half) for half in value.positions().chunk(2, call.arguments["dim"]))
    gate = builder.activation(second, sigmoids.sigmoid(), call.origin)
    return elementwise_product(builder, call.origin, first, gate)


def scaled(value: Linear, weight: Constant, origin: Origin) -> Linear:
    """`weight * value` for a weight that broadcasts to the value's shape."""
    offset = value.offset() * weight.value
    return value.then(diagonal(weight, value.shape), offset, origin)
