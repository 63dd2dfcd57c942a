"""Matrix products, convolutions, batch norm and products with constants.

Each rule gives the linear part; the bias is found by running the operator itself on the bias so far, so that
it needs no formula of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ...errors import NotGloballyLipschitz, UnsupportedOperator
from ...operators import algebra
from ...operators.base import LinearOperator, Shape
from ...operators.composite import Adjoint
from ...operators.convolution import Convolution
from ...operators.dense import Dense
from ...operators.gather import Gather
from ...operators.reshape import Reshape
from .. import constants
from ..builder import Builder, scaled_by
from ..call import Call
from ..values import Constant, Linear
from .broadcast import broadcast, diagonal
from .normalization import batch_statistics_norm
from .product import elementwise_product, matrix_product, quotient
from .table import only_dependent, rule


def apply(call: Call, value: Linear, operator: LinearOperator, added: Constant | None = None) -> Linear:
    """`operator` after `value`, plus `added`; one run of the call on the bias so far gives the new bias."""
    return value.then(operator, call.run(Linear.offset), call.origin, parameters(call), added)


def parameters(call: Call) -> int:
    """Stored numbers among the call's constants."""
    return sum(constant.parameters for constant in call.constants())


@rule("mm.default", "bmm.default", "mv.default")
def product(builder: Builder, call: Call) -> Linear:
    """A matrix product; affine where one factor is constant."""
    left, right = list(call.arguments.values())[:2]
    if isinstance(left, Linear) and isinstance(right, Linear):
        return matrix_product(builder, call.origin, left, right)
    value, operator = _product(call, left, right)
    return apply(call, value, operator)


@rule("addmm.default", "baddbmm.default", "addmv.default")
def product_with_bias(builder: Builder, call: Call) -> Linear:
    """beta * bias + alpha * left @ right with a constant bias."""
    bias, left, right = list(call.arguments.values())[:3]
    if isinstance(bias, Linear):
        raise UnsupportedOperator(f"{call.place} adds a term that depends on the input: no rule")
    alpha, beta = float(call.arguments["alpha"]), float(call.arguments["beta"])
    added = bias if beta == 1.0 else constants.multiply(bias, constants.exact(beta))
    if isinstance(left, Linear) and isinstance(right, Linear):
        value = matrix_product(builder, call.origin, left, right)
        offset = call.run(lambda factor: torch.zeros(factor.shape, dtype=torch.float64))
        scaled = algebra.scale(Reshape(value.shape, value.shape), alpha)
        return value.then(scaled, offset, None, parameters(call), added)
    value, operator = _product(call, left, right)
    return apply(call, value, algebra.scale(operator, alpha), added)


def _product(call: Call, left: Constant | Linear, right: Constant | Linear) -> tuple[Linear, LinearOperator]:
    if isinstance(left, Linear):
        assert isinstance(right, Constant)
        return left, right_multiplication(call, left.shape, right)
    assert isinstance(right, Linear)
    return right, _left_multiplication(call, left, right.shape)


def not_lipschitz(call: Call, what: str) -> NotGloballyLipschitz:
    """The refusal of an operation that has a finite constant on bounded sets only."""
    return NotGloballyLipschitz(
        f"{call.place} {what}: it has no finite Lipschitz constant on the whole space; "
        "a constant may exist on a bounded domain (box or ball)"
    )


def right_multiplication(call: Call, shape: Shape, factor: Constant) -> LinearOperator:
    """x -> x @ factor for x of `shape`; factor `(i, o)`, `(b, i, o)` or `(i,)`."""
    if factor.value.ndim == 1:
        row = dense(call, shape, (*shape[:-1], 1), factor.moved(lambda entries: entries[None]))
        return algebra.compose(Reshape(row.out_shape, shape[:-1]), row)
    transposed = factor.moved(lambda entries: entries.mT)
    return dense(call, shape, (*shape[:-1], factor.shape[-1]), transposed)


def _left_multiplication(call: Call, factor: Constant, shape: Shape) -> LinearOperator:
    """x -> factor @ x: transposed, multiplied from the right, transposed back."""
    if len(shape) == 1:
        return dense(call, shape, factor.shape[:1], factor)
    *batch, n, d = shape
    inner = _transposition(shape)
    core = dense(call, inner.out_shape, (*batch, d, factor.shape[-2]), factor)
    assert factor.shape[-1] == n
    return algebra.compose(_transposition(core.out_shape), algebra.compose(core, inner))


def _transposition(shape: Shape) -> Gather:
    index = torch.arange(torch.Size(shape).numel()).reshape(shape).mT
    return Gather(shape, tuple(index.shape), index.reshape(-1))


def dense(call: Call, in_shape: Shape, out_shape: Shape, matrix: Constant) -> LinearOperator:
    """The operator of a constant matrix `(o, i)`, or of one matrix per batch entry `(b, o, i)`."""
    matrix = constants.without_doubtful_zeros(matrix)
    value, error = matrix.value.to(torch.float64), rounding_norm(call, matrix, matrix.radius)
    if value.ndim == 3 and bool((value == value[:1]).all()):
        value = value[0]
    return Dense(tuple(in_shape), tuple(out_shape), value.contiguous(), error)


def rounding_norm(call: Call, weight: Constant, spread: Tensor | None) -> float:
    """Bound on a weight's rounding error in every p-norm from its radius `(..., o, i)`."""
    if spread is None:
        return 0.0
    error = float(torch.maximum(spread.sum(-1).max(), spread.sum(-2).max())) * constants.SLACK
    if not math.isfinite(error):
        cause = f": {weight.cause}" if weight.cause else ""
        raise UnsupportedOperator(f"{call.place}: its weight comes from an operation without a rounding rule{cause}")
    return error


@rule("convolution.default", "_convolution.default", "_convolution.deprecated")
def convolution(_builder: Builder, call: Call) -> Linear:
    """A convolution with a constant kernel; a transposed one is the adjoint of a convolution."""
    weight = call.arguments["weight"]
    if isinstance(weight, Linear):
        raise not_lipschitz(call, "convolves with a kernel that depends on the input")
    value, weight = call.arguments["input"], constants.without_doubtful_zeros(weight)
    out_shape = tuple(call.run(Linear.offset).shape)
    forward = not call.arguments["transposed"]
    spread = None if weight.radius is None else weight.radius.flatten(2).sum(-1)
    dims = len(value.shape) - 2
    padding = per_dimension(call.arguments["padding"], dims)
    operator = Convolution(
        value.shape if forward else out_shape,
        out_shape if forward else value.shape,
        weight.value.to(torch.float64),
        per_dimension(call.arguments["stride"], dims),
        tuple((p, p) for p in padding),
        per_dimension(call.arguments["dilation"], dims),
        call.arguments["groups"],
        rounding_norm(call, weight, spread),
    )
    bias = call.arguments["bias"]
    added = None if bias is None else bias.moved(lambda entries: entries.reshape(-1, *[1] * dims))
    return apply(call, value, operator if forward else Adjoint(operator), added)


@rule("native_batch_norm.default", "_native_batch_norm_legit_no_training.default", "cudnn_batch_norm.default")
def batch_norm(builder: Builder, call: Call) -> tuple[Linear, ...]:
    """Batch norm with stored statistics: gamma / sqrt(variance + eps) per channel."""
    value, gamma = only_dependent(call), call.arguments["weight"]
    variance, eps = call.arguments["running_var"], call.arguments.get("eps", call.arguments.get("epsilon"))
    if call.arguments.get("training"):
        return (batch_statistics_norm(builder, call),)
    deviation = constants.square_root(constants.add(variance, constants.exact(eps)))
    scale = constants.divide(gamma if gamma is not None else constants.exact(1.0), deviation)
    column = (-1, *[1] * (len(value.shape) - 2))
    operator = diagonal(_channels(scale, column), value.shape)
    added = _channels(constants.multiply(scale, constants.negate(call.arguments["running_mean"])), column)
    if call.arguments["bias"] is not None:
        added = constants.add(added, _channels(call.arguments["bias"], column))
    shifted = call.run(Linear.offset)[0]
    return (value.then(operator, shifted, call.origin, parameters(call), added),)


def _channels(constant: Constant, column: Sequence[int]) -> Constant:
    """One entry a channel, so that it broadcasts."""
    return constant.moved(lambda entries: entries.reshape(column))


@rule("mul.Tensor", "mul.Scalar")
def multiply(builder: Builder, call: Call) -> Linear:
    """An entrywise product; affine where one factor is constant."""
    values = call.linears()
    if len(values) == 2:
        return elementwise_product(builder, call.origin, *values)
    (weight,) = [x for x in call.arguments.values() if not isinstance(x, Linear)]
    return _scaled(call, values[0], _as_constant(weight))


@rule("div.Tensor", "div.Scalar")
def divide(builder: Builder, call: Call) -> Linear:
    """An entrywise quotient; affine where the divisor is constant."""
    value, divisor = call.arguments["input"], call.arguments["other"]
    if isinstance(divisor, Linear):
        return quotient(builder, call)
    return _scaled(call, value, constants.reciprocal(_as_constant(divisor)))


@rule("neg.default")
def negate(_builder: Builder, call: Call) -> Linear:
    return scaled_by(only_dependent(call), -1.0)


def _scaled(call: Call, value: Linear, weight: Constant) -> Linear:
    shape = tuple(torch.broadcast_shapes(value.shape, weight.shape))
    expanded = broadcast(value, shape)
    operator = diagonal(weight, shape)
    return expanded.then(operator, call.run(lambda _: expanded.offset()), call.origin, parameters(call))


def _as_constant(x: Constant | float) -> Constant:
    return x if isinstance(x, Constant) else constants.exact(float(x))


def spatial_dims(call: Call) -> int:
    """Spatial dimensions of a pooling operator, which only its name tells: `max_pool2d` has two."""
    return int(call.name.partition("_pool")[2][0])


def per_dimension(sizes: Sequence[int], dims: int) -> tuple[int, ...]:
    """A size argument with one entry a dimension; a single entry stands for all."""
    return tuple(sizes) if len(sizes) == dims else tuple(sizes) * dims
