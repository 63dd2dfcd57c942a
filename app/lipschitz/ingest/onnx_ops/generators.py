"""Operators that make constants and shapes."""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import InvalidModel
from ..onnx_tensors import to_torch
from .table import OnnxCall, const, op


@op("Constant")
def constant(call: OnnxCall) -> Tensor:
    if "value" in call.attributes:
        return to_torch(call.attributes["value"])
    for name, dtype in (("value_float", torch.float32), ("value_floats", torch.float32),
                        ("value_int", torch.int64), ("value_ints", torch.int64)):  # fmt: skip
        if name in call.attributes:
            return const(call.attributes[name], dtype)
    raise call.refuse("only numeric dense constants")


@op("ConstantOfShape")
def constant_of_shape(call: OnnxCall) -> Tensor:
    shape = call.bounded(call.numbers(0))
    if "value" not in call.attributes:
        return torch.zeros(shape)
    value = to_torch(call.attributes["value"])
    return torch.full(shape, value.reshape(()).item(), dtype=value.dtype)


@op("Shape")
def shape(call: OnnxCall) -> Tensor:
    """Sizes of the axes from `start` to `end`."""
    return const(list(call.tensor(0).shape)[call.attr("start", 0) : call.attr("end")])


@op("Size")
def size(call: OnnxCall) -> Tensor:
    return const(call.tensor(0).numel())


@op("Range")
def arithmetic_range(call: OnnxCall) -> Tensor:
    """start, start + delta, ... up to limit."""
    start, limit, delta = (call.number(position) for position in range(3))
    if delta == 0:
        raise InvalidModel(f"{call.place} has step zero.")
    call.bounded([int((limit - start) / delta)])
    return torch.arange(start, limit, delta, dtype=call.tensor(0).dtype)
