"""Weights stored as integers. Quantising activations is a step function and has no entry here."""

from __future__ import annotations

from torch import Tensor

from .table import OnnxCall, axis_of, op


@op("DequantizeLinear")
def dequantize(call: OnnxCall) -> Tensor:
    """(x - zero point) scale, with one scale for all or one along `axis`."""
    x, scale = call.tensor(0), call.tensor(1)
    if call.attr("block_size", 0):
        raise call.refuse("blocks of scales")
    shape = [1] * x.ndim
    if scale.numel() > 1:
        shape[axis_of(call, x.ndim, 1)] = scale.numel()
    y = x.to(scale.dtype)
    if call.has(2):
        y = y - call.tensor(2).to(scale.dtype).reshape(shape)
    return y * scale.reshape(shape)
