"""Sums, means and average pooling: every output adds up some entries, the adjoint of copying them."""

from __future__ import annotations

import math

import torch

from ...operators import algebra
from ...operators.base import LinearOperator, Shape
from ...operators.composite import Adjoint
from ...operators.convolution import Convolution
from ...operators.gather import Gather
from ...operators.reshape import Reshape
from .. import constants
from ..builder import Builder
from ..call import Call
from ..values import Constant, Linear
from .affine import apply, per_dimension, spatial_dims
from .broadcast import diagonal
from .table import only_dependent, rule


@rule("sum.dim_IntList", "sum.default")
def total(_builder: Builder, call: Call) -> Linear:
    value = only_dependent(call)
    return apply(call, value, _summation(value.shape, _dims(call, value), _out_shape(call)))


@rule("mean.dim", "mean.default")
def mean(_builder: Builder, call: Call) -> Linear:
    value = only_dependent(call)
    dims = _dims(call, value)
    count = math.prod(value.shape[dim] for dim in dims)
    summed = _summation(value.shape, dims, _out_shape(call))
    weight = constants.reciprocal(constants.exact(float(count)))
    return apply(call, value, algebra.compose(diagonal(weight, summed.out_shape), summed))


def _dims(call: Call, value: Linear) -> list[int]:
    rank = len(value.shape)
    if not rank:
        return []
    return [dim % rank for dim in call.arguments.get("dim") or range(rank)]


def _out_shape(call: Call) -> Shape:
    return tuple(call.run(Linear.offset).shape)


def _summation(shape: Shape, dims: list[int], out_shape: Shape) -> LinearOperator:
    """Entry i of the input goes to output `index[i]`."""
    kept = [1 if position in dims else size for position, size in enumerate(shape)]
    index = torch.arange(math.prod(kept)).reshape(kept).expand(shape)
    return Adjoint(Gather(out_shape, shape, index.reshape(-1)))


@rule("avg_pool1d.default", "avg_pool2d.default", "avg_pool3d.default")
def average_pool(_builder: Builder, call: Call) -> Linear:
    """A depthwise convolution of ones, divided by the number of entries that the operator counts."""
    value = only_dependent(call)
    dims, out_shape = spatial_dims(call), _out_shape(call)
    missing = (1,) * (dims + 2 - len(value.shape))
    batched, batched_out = (*missing, *value.shape), (*missing, *out_shape)
    window = _window_sum(call, batched, batched_out)
    ones = torch.ones(value.shape, dtype=torch.float64)
    answer = call.run(lambda _: ones).reshape(batched_out)
    counted = window.mv(ones.reshape(1, -1)).reshape(batched_out)
    share = torch.where((counted == 0.0) & (answer == 0.0), 0.0, answer / counted)  # a window of padding alone
    if bool((share == share.flatten()[0]).all()):
        share = share.flatten()[0]
    weight = Constant(share, 8 * constants.UNIT * share.abs())  # the operator's own division and this one
    pooled = algebra.compose(diagonal(weight, batched_out), window)
    shaped = algebra.compose(Reshape(batched_out, out_shape), algebra.compose(pooled, Reshape(value.shape, batched)))
    return apply(call, value, shaped)


def _window_sum(call: Call, in_shape: Shape, out_shape: Shape) -> Convolution:
    dims = spatial_dims(call)
    size = per_dimension(call.arguments["kernel_size"], dims)
    stride = per_dimension(call.arguments["stride"] or size, dims)
    padding = per_dimension(call.arguments["padding"], dims)
    needed = [
        (n - 1) * s + k - i - p
        for n, s, k, i, p in zip(out_shape[2:], stride, size, in_shape[2:], padding, strict=True)
    ]  # ceil_mode reads past the padding
    ends = tuple((p, max(p, extra)) for p, extra in zip(padding, needed, strict=True))
    kernel = torch.ones(in_shape[1], 1, *size, dtype=torch.float64)
    return Convolution(
        in_shape,
        out_shape,
        kernel,
        stride,
        ends,
        (1,) * dims,
        in_shape[1],
        0.0,
    )
