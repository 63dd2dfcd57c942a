"""ONNX bytes to a checked ModelProto.

Only bytes in memory are read: external data are those of the same bundle. Every tensor's declared size is compared
with the bytes that are there, so no allocation exceeds the file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from .. import bundle
from ..errors import InvalidModel, UnsupportedOperator
from . import onnx_external
from .messages import first_line
from .onnx_tensors import stored_bytes, to_array

RUNTIMES = {"SimplifiedLayerNormalization": math.inf, "LayerNormalization": 17}
"""Operators that onnxruntime's optimiser writes into the standard's domain, with the set that first knows them."""

MAX_DEPTH = 16
"""Nested subgraphs; exporters write two or three."""

_ACCEPT_INFINITY = frozenset(
    {"Where", "Clip", "Pad", "Max", "Min", "Constant", "ConstantOfShape", "Add", "Attention", "Expand", "Unsqueeze",
     "Squeeze", "Reshape", "Slice", "Gather", "Transpose", "Concat", "Identity"}
)  # fmt: skip
"""Operators for which an infinite constant is a mask or an absent limit rather than a broken weight."""


def parse(data: bytes) -> ModelProto:
    """The model in `data`, an ONNX file or a bundle; raises InvalidModel unless it is well formed and complete."""
    parts = bundle.split(data)
    model = _decode(parts.model)
    if not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise InvalidModel("The file is not an ONNX model: it holds no graph.")
    if not model.opset_import:
        raise InvalidModel("The ONNX file names no operator set (IR version 1 or 2): export it again.")
    onnx_external.fill(tensors(model), parts.files)
    for tensor in tensors(model):
        _check_tensor(tensor)
    for graph in graphs(model.graph):
        _check_graph(graph)
    _check_finite(model)
    _check_schemas(model)
    return model


def external_buffers(data: bytes) -> dict[str, memoryview]:
    """The files beside the model in a bundle, by the names that the model itself writes."""
    parts = bundle.split(data)
    names = onnx_external.locations(tensors(_decode(parts.model))) if parts.files else {}
    return {written: parts.files[name] for written, name in names.items()}


def _decode(data: bytes) -> ModelProto:
    try:
        return onnx.load_model_from_string(data)
    except (DecodeError, ValueError, TypeError) as error:
        raise InvalidModel(f"The file is not an ONNX protobuf: {error}.") from error


def graphs(graph: GraphProto, depth: int = 0) -> Iterator[GraphProto]:
    """`graph` and every graph nested in its nodes' attributes."""
    if depth > MAX_DEPTH:
        raise InvalidModel(f"Subgraphs are nested deeper than {MAX_DEPTH}.")
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from graphs(attribute.g, depth + 1)
            for inner in attribute.graphs:
                yield from graphs(inner, depth + 1)


def nodes(model: ModelProto) -> Iterator[NodeProto]:
    """Every node of the model, those of subgraphs and local functions included."""
    for graph in graphs(model.graph):
        yield from graph.node
    for function in model.functions:
        yield from function.node


def tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Every tensor stored in the model: initializers and tensor attributes."""
    for graph in graphs(model.graph):
        if graph.sparse_initializer:
            raise UnsupportedOperator("Sparse initializers are not supported.")
        yield from graph.initializer
    for node in nodes(model):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _check_tensor(tensor: TensorProto) -> None:
    if any(size < 0 for size in tensor.dims):
        raise InvalidModel(f"Tensor '{tensor.name}' has a negative dimension: {list(tensor.dims)}.")
    if tensor.data_type == TensorProto.STRING:
        return
    if tensor.data_type not in TensorProto.DataType.values() or tensor.data_type == TensorProto.UNDEFINED:
        raise InvalidModel(f"Tensor '{tensor.name}' has an unknown element type {tensor.data_type}.")
    expected = math.prod(tensor.dims)
    if tensor.HasField("raw_data") and stored_bytes(tensor, expected) != len(tensor.raw_data):
        raise InvalidModel(
            f"Tensor '{tensor.name}' of shape {list(tensor.dims)} holds {len(tensor.raw_data)} bytes, "
            f"not {stored_bytes(tensor, expected)}."
        )
    if not tensor.HasField("raw_data") and expected > 2 * tensor.ByteSize():
        raise InvalidModel(f"Tensor '{tensor.name}' of shape {list(tensor.dims)} is shorter than declared.")


def _check_graph(graph: GraphProto) -> None:
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_value < -1:  # -1 is an old exporters' word for an open one
                raise InvalidModel(f"'{value.name}' declares a negative dimension: {dim.dim_value}.")


def _check_finite(model: ModelProto) -> None:
    masks = _mask_constants(model)
    for tensor in tensors(model):
        if tensor.data_type not in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16):
            continue
        values = to_array(tensor)
        if np.isnan(values).any() or (tensor.name not in masks and not np.isfinite(values).all()):
            raise InvalidModel(f"Tensor '{tensor.name}' holds NaN or infinite values.")


def _mask_constants(model: ModelProto) -> set[str]:
    """Names of tensors that only operators which accept infinity read, unnamed attributes included."""
    readers = [(name, node.op_type in _ACCEPT_INFINITY) for node in nodes(model) for name in node.input]
    return {name for name, accepts in readers if accepts} - {n for n, accepts in readers if not accepts} | {""}


def _check_schemas(model: ModelProto) -> None:
    """onnx's own checker, on a copy without large weights (it would serialise them)."""
    try:
        onnx.checker.check_model(_without_weights(model))
    except (onnx.checker.ValidationError, UnicodeDecodeError, ValueError, RuntimeError) as error:
        raise InvalidModel(f"The ONNX model is inconsistent: {first_line(error)}") from error


def _without_weights(model: ModelProto) -> ModelProto:
    graph = model.graph
    light = GraphProto(node=graph.node, name=graph.name)
    light.output.extend(_typed(value) for value in graph.output)
    known = {value.name for value in graph.input}
    light.input.extend(_typed(value) for value in graph.input)
    for tensor in graph.initializer:
        if tensor.name not in known:
            light.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    imports = {entry.domain: entry for entry in model.opset_import}
    unknown = {name for name, first in RUNTIMES.items() if imports.get("", model.opset_import[0]).version < first}
    for node in light.node:
        if node.op_type in unknown and not node.domain:
            node.domain = "com.microsoft"
            imports.setdefault(node.domain, onnx.helper.make_opsetid(node.domain, 1))
    return ModelProto(
        ir_version=model.ir_version, opset_import=imports.values(), functions=model.functions, graph=light
    )


def _typed(value: ValueInfoProto) -> ValueInfoProto:
    """The checker wants every type and shape declared; runtimes infer what files leave out."""
    if value.type.WhichOneof("value") not in (None, "tensor_type") or value.type.tensor_type.HasField("shape"):
        return value
    element = value.type.tensor_type.elem_type or TensorProto.FLOAT
    return onnx.helper.make_tensor_value_info(value.name, element, [])
