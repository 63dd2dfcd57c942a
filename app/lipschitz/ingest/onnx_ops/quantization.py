"""Weights stored as integers, and values that are rounded to a grid of integers: those stay floating-point numbers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto
from torch import Tensor

from ...errors import Discontinuous
from .table import OnnxCall, axis_of, op

ENDS = {
    TensorProto.UINT8: (0, 255),
    TensorProto.INT8: (-128, 127),
    TensorProto.UINT16: (0, 65535),
    TensorProto.INT16: (-32768, 32767),
}
"""Least and largest integer of the types that values are rounded to."""
OF_TORCH = {
    torch.uint8: TensorProto.UINT8,
    torch.int8: TensorProto.INT8,
    torch.uint16: TensorProto.UINT16,
    torch.int16: TensorProto.INT16,
}


def grid_refusal(node: NodeProto) -> Discontinuous:
    """Of an operator that rounds in a way that no entry tells."""
    return Discontinuous(
        f"ONNX operator {node.op_type} at '{node.name or node.op_type}' rounds to a grid, a step function without a "
        "finite constant: send the float model that was quantised."
    )


def require_known_types(graph: GraphProto, outer: Mapping[str, int] = MappingProxyType({})) -> None:
    """Refuse zero points whose type a tensor of torch would not tell, as those of four bits; branches included."""
    kinds = {**outer, **{tensor.name: tensor.data_type for tensor in graph.initializer}}
    for node in graph.node:
        if node.op_type == "Constant":
            kinds[node.output[0]] = next((one.t.data_type for one in node.attribute if one.name == "value"), 0)
        has_zero = node.op_type == "QuantizeLinear" and len(node.input) > 2 and bool(node.input[2])
        if has_zero and kinds.get(node.input[2]) not in ENDS:
            raise grid_refusal(node)
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                require_known_types(attribute.g, kinds)


@op("QuantizeLinear")
def quantize(call: OnnxCall) -> Tensor:
    """round(x / scale) + zero point, within the ends of the integer type."""
    x, scale = call.tensor(0), call.tensor(1)
    if call.attr("block_size", 0):
        raise call.refuse("blocks of scales")
    kind = OF_TORCH.get(call.tensor(2).dtype) if call.has(2) else call.attr("output_dtype", 0) or TensorProto.UINT8
    if kind not in ENDS:
        raise call.refuse("a type other than integers")
    shape = [1] * x.ndim
    if scale.numel() > 1:
        shape[axis_of(call, x.ndim, 1)] = scale.numel()
    y = torch.round(x / scale.to(x.dtype).reshape(shape))
    if call.has(2):
        y = y + call.tensor(2).to(x.dtype).reshape(shape)
    return y.clamp(*ENDS[kind])


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
