"""The traced graph in float64: stored tensors converted exactly, every floating type argument widened.

The result computes the same function with less rounding. Integers stay integers; where torch would make a
float32 out of integers alone (a quotient, a product with a number), they are widened first.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_aggregate

aten = torch.ops.aten


def promote(graph: GraphModule) -> GraphModule:
    """A float64 copy of `graph`, which loses its constants on the way; integers are shared, not copied."""
    copy = Graph()
    outputs = copy.graph_copy(graph.graph, {})
    assert isinstance(outputs, list | tuple)
    copy.output(tuple(outputs))
    _copy_meta(graph.graph, copy)
    for node in list(copy.nodes):
        if isinstance(node.target, torch._ops.OpOverload):
            _widen(node, node.target)
    names = dict.fromkeys(str(node.target) for node in copy.nodes if node.op == "get_attr")
    return GraphModule({name: _as_double(_taken(graph, name)) for name in names}, copy)


def _taken(graph: GraphModule, name: str) -> Tensor:
    """The stored tensor, no longer held by the graph: large weights must not lie there twice."""
    tensor: Tensor = getattr(graph, name)
    delattr(graph, name)
    return tensor


def _copy_meta(source: Graph, copy: Graph) -> None:
    for old, new in zip(source.nodes, copy.nodes, strict=True):
        new.meta = dict(old.meta)


def _as_double(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    return tensor.double() if tensor.is_floating_point() else tensor


def _widen(node: Node, target: torch._ops.OpOverload) -> None:
    if _is_narrow(node.meta.get("val")) and not _floating_inputs(node):
        _widen_source(node, target)
    node.args = map_aggregate(node.args, _wide_dtype)
    node.kwargs = map_aggregate(node.kwargs, _wide_dtype)


def _wide_dtype(argument: Any) -> Any:
    if isinstance(argument, torch.dtype) and argument.is_floating_point:
        return torch.float64
    return argument


def _widen_source(node: Node, target: torch._ops.OpOverload) -> None:
    """A floating tensor from no floating tensor: name the type, or widen the integers it is made of."""
    if any(argument.name == "dtype" for argument in target._schema.arguments):
        node.kwargs = {**node.kwargs, "dtype": torch.float64}
        return
    with node.graph.inserting_before(node):
        for source in node.all_input_nodes:
            if not _is_boolean(source):
                node.replace_input_with(source, _converted(source))


def _converted(source: Node) -> Node:
    node = source.graph.call_function(aten._to_copy.default, (source,), {"dtype": torch.float64})
    node.meta = {key: source.meta[key] for key in ("origin", "shape", "datatype") if key in source.meta}
    return node


def _floating_inputs(node: Node) -> bool:
    return any(_is_floating(source.meta.get("val")) for source in node.all_input_nodes)


def _is_floating(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _is_narrow(value: Any) -> bool:
    return _is_floating(value) and value.dtype != torch.float64


def _is_boolean(node: Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.dtype == torch.bool
