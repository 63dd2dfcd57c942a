"""Questions about a captured graph: what depends on the input, how an operator is called, what the graph computes."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from ..errors import ConversionMismatch, UnsupportedOperator


def unsupported(*_operands: Tensor) -> NoReturn:
    """Stands for an operator that no rule and no fold knows; the node's `meta["target"]` is its name."""
    raise UnsupportedOperator("an operator without a rule is never evaluated")


def operator_name(node: Node) -> str:
    """'aten.mm.default' for a call."""
    return str(node.meta["target"] if node.target is unsupported else node.target)


def short_name(node: Node) -> str:
    """The operator without its library and overload: addmm for aten.addmm.default."""
    if isinstance(node.target, torch._ops.OpOverload):
        return node.target._schema.name.rpartition("::")[2]
    if node.target is unsupported:
        return operator_name(node).split(".")[1]
    return node.name if node.op == "output" else getattr(node.target, "__name__", str(node.target))


def dependent_nodes(graph: GraphModule) -> set[Node]:
    """Nodes that depend on the inputs' values."""
    dependent: set[Node] = set()
    for node in graph.graph.nodes:
        if node.op == "placeholder" or any(source in dependent for source in node.all_input_nodes):
            dependent.add(node)
    return dependent


def unevaluable(graph: GraphModule) -> set[Node]:
    """Operators without a rule, and all that depends on one."""
    nodes: set[Node] = set()
    for node in graph.graph.nodes:
        if node.target is unsupported or any(source in nodes for source in node.all_input_nodes):
            nodes.add(node)
    return nodes


def results(graph: GraphModule) -> list[Node]:
    """The nodes whose values are the graph's outputs, in order."""
    (end,) = graph.graph.find_nodes(op="output")
    return list(end.args[0])


def evaluate(graph: GraphModule, inputs: Sequence[Tensor], ends: Sequence[Node]) -> list[Tensor]:
    """The values of the nodes `ends` at the inputs; nothing else is computed, and nothing is kept longer than needed.

    Raises UnsupportedOperator where an operator computes in less than float64 or has no rule, ConversionMismatch
    where a value does not have the shape that the graph states.
    """
    last = _last_uses(graph, ends)
    given = iter(inputs)
    values: dict[Node, Any] = {}
    with torch.no_grad():
        for node in graph.graph.nodes:
            if node.op == "placeholder":
                values[node] = next(given)
            elif node in last:
                values[node] = _value(graph, node, values)
                _check(node, values[node])
            for used in [source for source in node.all_input_nodes if last.get(source) is node]:
                del values[used]
    return [values[end] for end in ends]


def _last_uses(graph: GraphModule, ends: Sequence[Node]) -> dict[Node, Node | None]:
    """The needed nodes, with the last needed node that reads each; None for the ends, which are kept."""
    last: dict[Node, Node | None] = dict.fromkeys(ends)
    for node in reversed(graph.graph.nodes):
        if node in last:
            for source in node.all_input_nodes:
                last.setdefault(source, node)
    return last


def _value(graph: GraphModule, node: Node, values: dict[Node, Any]) -> Any:
    if node.op == "get_attr":
        return operator.attrgetter(str(node.target))(graph)
    assert callable(node.target)
    args: Any = map_arg(node.args, values.__getitem__)
    kwargs: Any = map_arg(node.kwargs, values.__getitem__)
    return node.target(*args, **kwargs)


def _check(node: Node, value: Any) -> None:
    if not isinstance(value, Tensor):
        return
    if value.is_floating_point() and value.dtype != torch.float64:
        raise UnsupportedOperator(f"Operator {node.target} at '{node.meta['origin'].name}' computes in {value.dtype}.")
    if tuple(value.shape) != node.meta.get("shape", tuple(value.shape)):
        raise ConversionMismatch(f"'{node.name}' is {list(value.shape)}, where the graph states {node.meta['shape']}.")
