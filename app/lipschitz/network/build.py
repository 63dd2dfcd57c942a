"""The captured graph -> `Network`: every ATen node by its rule, constants folded, affine regions fused."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import fx
from torch._ops import OpOverload

from ..artifact.captured import Captured, Origin
from ..artifact.graphs import operator_name
from ..errors import Discontinuous, InvalidModel, LipschitzError, UnsupportedOperator
from ..failures import failure
from .builder import Builder
from .call import Call, origin_of
from .constants import is_wide
from .folding import fold
from .fusion import fused
from .magnitudes import root_of_squares
from .nodes import Network
from .noise import rounded, scalar_of
from .regions import normalized
from .rules import RULES
from .values import Constant, Linear

Sharpen = Callable[[fx.Node, Constant], Constant]
"""Gives a narrower enclosure of a node that no input reaches."""


def build(captured: Captured, outputs: Sequence[int], sharpen: Sharpen = lambda _, known: known) -> Network:
    """The network of a captured graph, with the outputs at the given positions.

    `sharpen` is asked for constants whose radius is wide, where a dependent value meets them.
    Raises UnsupportedOperator, NotGloballyLipschitz or Discontinuous naming the operator and its place.
    """
    builder = Builder([spec.shape for spec in captured.inputs])
    values = values_in(captured, builder, sharpen)
    end = captured.graph.graph.output_node()
    return builder.finish(outputs_of(builder, end, values, outputs), Origin("output", "Concat"))


def values_of(captured: Captured) -> dict[fx.Node, Any]:
    """What is known of every node: a value by the rules, or the refusal of it."""
    return values_in(captured, Builder([spec.shape for spec in captured.inputs]), lambda _, known: known)


def values_in(captured: Captured, builder: Builder, sharpen: Sharpen) -> dict[fx.Node, Any]:
    """The same of nodes that go into `builder`, with constants as narrow as `sharpen` makes them."""
    inputs = iter(builder.inputs)
    values: dict[fx.Node, Any] = {}
    for node in captured.graph.graph.nodes:
        if node.op == "placeholder":
            values[node] = next(inputs)
        elif node.op == "get_attr":
            values[node] = _stored(captured.graph, node)
        elif node.op == "call_function":
            _sharpen(node, values, sharpen)
            values[node] = _called(builder, node, values)
    return values


def _stored(graph: fx.GraphModule, node: fx.Node) -> Constant:
    value = operator.attrgetter(str(node.target))(graph).detach()
    if value.is_floating_point():
        return Constant(value.to(torch.get_default_device(), torch.float64), None, value.numel())
    return Constant(value.to(torch.get_default_device()))


def _sharpen(node: fx.Node, values: dict[fx.Node, Any], sharpen: Sharpen) -> None:
    """The constants that the node reads beside what depends on an input, as narrow as they can be had."""
    given = [values[source] for source in node.all_input_nodes]
    if all(isinstance(value, Constant) for value in given):
        return
    for source, value in zip(node.all_input_nodes, given, strict=True):
        if isinstance(value, Constant) and not value.cause and is_wide(value):
            values[source] = sharpen(source, value)


def _called(builder: Builder, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
    """The node's value, or the refusal of it: that counts only if an output needs the value."""
    region = normalized(builder, node, values) or root_of_squares(builder, node, values) or fused(builder, node, values)
    if region is not None:
        return region
    refusals = [values[operand] for operand in node.all_input_nodes if isinstance(values[operand], LipschitzError)]
    if refusals:
        return refusals[0]
    try:
        return _without_empty(_by_rule(builder, node, values))
    except LipschitzError as refusal:
        return refusal
    except Exception as error:
        return UnsupportedOperator(f"{node.target} at '{origin_of(node).name}' cannot be bounded: {failure(error)}")


def _without_empty(value: Any) -> Any:
    """The value itself; a tensor without entries depends on nothing, and is exact."""
    if isinstance(value, Linear) and 0 in value.shape:
        return Constant(torch.zeros(value.shape, dtype=torch.float64), None, value.parameters)
    if isinstance(value, Constant) and 0 in value.shape:
        return replace(value, radius=None)
    return value


def _by_rule(builder: Builder, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
    args: Any = fx.node.map_arg(node.args, values.__getitem__)
    if node.target is operator.getitem:
        return _item(node, *args)
    if node.target is rounded and isinstance(args[0], Linear):
        return builder.activation(args[0], scalar_of(*args[1:]), origin_of(node))
    kwargs: Any = fx.node.map_arg(node.kwargs, values.__getitem__)
    if not isinstance(node.target, OpOverload):
        origin = origin_of(node)
        name = operator_name(node).removeprefix("aten.")
        raise UnsupportedOperator(f"{name} at '{origin.name}' ({origin.op}) has no rule")
    call = Call.bind(node.target, args, kwargs, origin_of(node))
    if not call.linears():
        return fold(call)
    rule = RULES.get(call.name.removeprefix("aten."))
    if rule is None:
        raise UnsupportedOperator(f"{call.place} has no rule")
    return rule(builder, call)


def _item(node: fx.Node, results: Any, position: int) -> Any:
    if position >= len(results) and str(node.meta.get("datatype")).startswith("INT"):
        raise Discontinuous(f"the positions that '{origin_of(node).name}' finds are discontinuous: they jump at ties")
    if position >= len(results):
        raise UnsupportedOperator(f"output {position} of a multi-output operator has no rule")
    return results[position]


def outputs_of(builder: Builder, node: fx.Node, values: dict[fx.Node, Any], positions: Sequence[int]) -> list[Linear]:
    """The values at these positions of the graph's end; raises the refusal of one that has none."""
    results: Any = fx.node.map_arg(node.args[0], values.__getitem__)
    chosen = [results[position] for position in positions]
    for refusal in chosen:
        if isinstance(refusal, LipschitzError):
            raise refusal
    if not any(isinstance(value, Linear) for value in chosen):
        raise InvalidModel("no output depends on a floating-point input: the function is constant")
    return [value if isinstance(value, Linear) else builder.constant(value.value) for value in chosen]
