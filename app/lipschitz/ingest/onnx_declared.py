"""What an ONNX file declares: inputs, outputs, operator set, operators and parameters."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto

from ..artifact.captured import Inspection, TensorSpec
from .onnx_dtypes import from_onnx
from .onnx_file import nodes, tensors
from .onnx_ops import supports
from .onnx_ops.table import key

STANDARD_DOMAINS = ("", "ai.onnx")


def opset(model: ModelProto) -> int:
    """Version of the standard operator set that the model imports; 1 when it names none."""
    return next((entry.version for entry in model.opset_import if entry.domain in STANDARD_DOMAINS), 1)


def declared_inputs(graph: GraphProto) -> list[ValueInfoProto]:
    """The graph's inputs without initializers, which old files list among them."""
    constants = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in constants]


def spec(value: ValueInfoProto) -> TensorSpec:
    """Datatype and shape as declared, -1 for open dimensions (0 too: some exporters write it for 'open')."""
    tensor = value.type.tensor_type
    shape = tuple(dim.dim_value if dim.dim_value > 0 else -1 for dim in tensor.shape.dim)
    return TensorSpec(value.name, from_onnx(tensor.elem_type), shape)


def symbols(value: ValueInfoProto) -> list[str] | None:
    """The names of the open dimensions, '' where one is fixed or unnamed; None where not even the rank is known."""
    if not value.type.tensor_type.HasField("shape"):
        return None
    return [dim.dim_param for dim in value.type.tensor_type.shape.dim]


def inspect(model: ModelProto) -> Inspection:
    """What the file says without being run."""
    histogram = Counter(key(node) for node in nodes(model))
    functions = {(function.domain, function.name) for function in model.functions}
    unsupported = {
        key(node)
        for node in nodes(model)
        if (node.domain, node.op_type) not in functions and not supports(node, opset(model))
    }
    return Inspection(
        "onnx",
        tuple(spec(value) for value in declared_inputs(model.graph)),
        tuple(spec(value) for value in model.graph.output),
        _parameters(tensors(model)),
        dict(histogram),
        tuple(sorted(unsupported)),
    )


def _parameters(stored: Iterator[TensorProto]) -> int:
    floating = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)
    return sum(math.prod(tensor.dims) for tensor in stored if tensor.data_type in floating)
