"""Operators that act on one axis at a time by a fixed matrix: resampling, adaptive pooling, cumulative sums.

The matrix on an axis is found by running the operator on unit vectors along it, constant along the others;
interpolation and averaging weights add up to one, so the other axes leave the constant alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...operators import algebra
from ...operators.base import LinearOperator, Shape
from ...operators.gather import Gather
from ...operators.reshape import Reshape
from .. import constants
from ..builder import Builder
from ..call import Call
from ..values import Constant, Linear
from .affine import apply, dense
from .table import only_dependent, rule

CHUNK = 16
"""Unit vectors per run of the operator."""


@rule("_adaptive_avg_pool2d.default", "_adaptive_avg_pool3d.default", "adaptive_avg_pool1d.default",
      "upsample_linear1d.default", "upsample_bilinear2d.default", "upsample_trilinear3d.default",
      "upsample_bicubic2d.default", "upsample_linear1d.vec", "upsample_bilinear2d.vec",
      "upsample_trilinear3d.vec", "upsample_bicubic2d.vec", "_upsample_bilinear2d_aa.default",
      "_upsample_bicubic2d_aa.default")  # fmt: skip
def resample(_builder: Builder, call: Call) -> Linear:
    """One matrix an axis."""
    value = only_dependent(call)
    operator: LinearOperator = Reshape(value.shape, value.shape)
    for axis in range(2, len(value.shape)):
        operator = algebra.compose(_on_axis(call, operator.out_shape, axis, _axis_matrix(call, axis)), operator)
    return apply(call, value, operator)


@rule("cumsum.default")
def cumulative_sum(_builder: Builder, call: Call) -> Linear:
    """A lower triangle of ones on one axis."""
    value = only_dependent(call)
    if not value.shape:
        return value
    axis = call.arguments["dim"] % len(value.shape)
    triangle = torch.ones(value.shape[axis], value.shape[axis], dtype=torch.float64).tril()
    return apply(call, value, _on_axis(call, value.shape, axis, Constant(triangle)))


def _axis_matrix(call: Call, axis: int) -> Constant:
    """`(n_out, n_in)`; the weights are products and sums of a few numbers of order one."""
    value = only_dependent(call)
    rows = [_responses(call, value.shape, axis, chunk) for chunk in torch.arange(value.shape[axis]).split(CHUNK)]
    matrix = torch.cat(rows).T
    return Constant(matrix, torch.where(matrix != 0, 64 * constants.UNIT, 0.0))


def _responses(call: Call, shape: Shape, axis: int, chunk: Tensor) -> Tensor:
    units = torch.zeros(1, len(chunk), shape[axis], dtype=torch.float64)
    units[0, torch.arange(len(chunk)), chunk] = 1.0
    spatial = len(shape) - 2
    column = [1, len(chunk)] + [shape[axis] if position == axis - 2 else 1 for position in range(spatial)]
    signal = units.reshape(column).expand(1, len(chunk), *shape[2:])
    answer = call.run(lambda _: signal)
    return torch.as_tensor(answer).movedim(axis, -1).flatten(2)[0, :, -answer.shape[axis] :]


def _on_axis(call: Call, shape: Shape, axis: int, matrix: Constant) -> LinearOperator:
    """The matrix applied along one axis: moved to the end, multiplied, moved back."""
    inner = _moved_axis(shape, axis, -1)
    core = dense(call, inner.out_shape, (*inner.out_shape[:-1], matrix.shape[0]), matrix)
    return algebra.compose(_moved_axis(core.out_shape, -1, axis), algebra.compose(core, inner))


def _moved_axis(shape: Shape, source: int, target: int) -> Gather:
    index = torch.arange(torch.Size(shape).numel()).reshape(shape).movedim(source, target)
    return Gather(shape, tuple(index.shape), index.reshape(-1))
