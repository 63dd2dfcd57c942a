"""The long tail: operators without an entry of their own, by onnx2torch's converters.

onnx2torch registers a converter for each version of an operator's schema. Later versions mostly widen the
element types, so the newest converter that is not newer than the model's operator set serves; the agreement
check with onnxruntime decides whether it was right.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from onnx import GraphProto, defs, numpy_helper
from onnx.helper import make_tensor_value_info
from torch import Tensor
from torch.fx.experimental.proxy_tensor import disable_proxy_modes_tracing

from .table import OnnxCall, Value

Converter = Callable[..., Any]


@functools.cache
def _converters() -> dict[str, dict[int, Converter]]:
    """Operator name -> schema version -> converter.

    None where onnx2torch cannot be imported (it asks for torchvision, whose binaries fit one torch alone): then the
    operators of the long tail are refused by name, like any that nobody knows.
    """
    try:
        import onnx2torch  # noqa: F401  (fills the registry)
        from onnx2torch.node_converters import registry
    except ImportError:
        return {}
    table: dict[str, dict[int, Converter]] = {}
    for description, converter in registry._CONVERTER_REGISTRY.items():
        if description.domain == defs.ONNX_DOMAIN:
            table.setdefault(description.operation_type, {})[description.version] = converter
    return table


def has_converter(operator: str, opset: int) -> bool:
    """Whether onnx2torch knows the operator at this version of the operator set."""
    return any(version <= opset for version in _converters().get(operator, ()))


def convert_and_run(call: OnnxCall) -> Tensor | tuple[Tensor, ...]:
    """Build onnx2torch's module for this node and run it; stored constants are given as initializers."""
    from onnx2torch.onnx_graph import OnnxGraph

    versions = _converters()[call.node.op_type]
    graph = OnnxGraph(_one_node_graph(call))
    (node,) = graph.nodes.values()
    module, mapping = versions[max(version for version in versions if version <= call.opset)](node, graph)
    values = dict(zip(call.node.input, call.inputs, strict=True))
    given = [values[name] for name in mapping.inputs]
    result: Tensor | tuple[Tensor, ...] = module(*(value and value.tensor for value in given))
    return result


def _one_node_graph(call: OnnxCall) -> GraphProto:
    named = [(name, value) for name, value in zip(call.node.input, call.inputs, strict=True) if value is not None]
    graph = GraphProto(node=[call.node])
    for name, value in named:
        if value.exact:
            graph.initializer.append(numpy_helper.from_array(_array(value), name))
        else:
            graph.input.append(make_tensor_value_info(name, 0, list(value.tensor.shape)))
    graph.output.extend(make_tensor_value_info(name, 0, None) for name in call.node.output)
    return graph


def _array(value: Value) -> Any:
    with disable_proxy_modes_tracing():
        return value.tensor.numpy()
