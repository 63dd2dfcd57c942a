"""The captured graph at a few points: the function of the stored weights itself, nothing folded."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload

from ..artifact.captured import Captured, Origin
from ..deadline import Deadline, OutOfTime
from ..device import on_cpu
from ..network.call import Call
from ..network.noise import rounded
from . import extremes, matrices, operators, products, reductions  # noqa: F401 - for their entries
from .masks import masked, require_apart, without_infinity
from .number import Number, Unable, aligned, exact
from .operators import evaluate as evaluate_call

Values = dict[fx.Node, Sequence[Any]]
"""Of a node: one value for each point, or one for all where no input matters."""


def values_at(
    captured: Captured, outputs: Sequence[int], points: Sequence[Tensor], places: int, deadline: Deadline
) -> Sequence[Number]:
    """At each flat point `(n,)` the outputs at those positions, laid end to end, with about `places` digits.

    Unable names what has no rule; OutOfTime where the deadline passes first.
    """
    given = _inputs(captured, points)
    values: Values = {}
    masks = masked(captured.graph)
    readers = {node: len(node.users) for node in captured.graph.graph.nodes}
    with torch.no_grad(), on_cpu():
        for node in captured.graph.graph.nodes:
            if deadline.passed:
                raise OutOfTime
            if node.op == "output":
                if any(node.args[0][position] in masks for position in outputs):
                    raise Unable("an output that may be infinite")
                chosen: list[Any] = [node.args[0][position] for position in outputs]
                return [_joined([_flat(_at(values[one], i)) for one in chosen]) for i in range(len(points))]
            if node.op == "placeholder":
                values[node] = next(given)
            elif node.op == "get_attr":
                values[node] = [_stored(captured.graph, node, masks)]
            else:
                values[node] = _called(node, values, places, masks)
            for source in node.all_input_nodes:
                readers[source] -= 1
                if not readers[source]:
                    del values[source]  # large feature maps must not pile up
    raise Unable("a graph without output")


def evaluated(graph: fx.GraphModule, node: fx.Node, known: dict[fx.Node, Any], places: int, deadline: Deadline) -> Any:
    """The value of a node that no input reaches; `known` keeps it and what it is made of for the next question.

    Unable names what has no rule; OutOfTime where the deadline passes first.
    """
    needed, masks = _made_of(node, known), masked(graph)
    for one in graph.graph.nodes:
        if one not in needed:
            continue
        if deadline.passed:
            raise OutOfTime
        if one.op == "placeholder":
            raise Unable(f"'{one.name}', which is an input")
        known[one] = _stored(graph, one, masks) if one.op == "get_attr" else _result(one, known, places, masks)
    return known[node]


def _made_of(node: fx.Node, known: dict[fx.Node, Any]) -> set[fx.Node]:
    """The nodes that a value is computed from and that are not known yet, itself included."""
    nodes: set[fx.Node] = set()
    pending = [node]
    while pending:
        one = pending.pop()
        if one not in nodes and one not in known:
            nodes.add(one)
            pending += one.all_input_nodes
    return nodes


def _inputs(captured: Captured, points: Sequence[Tensor]) -> Iterator[Sequence[Number]]:
    """Each input at every point."""
    sizes = [torch.Size(spec.shape).numel() for spec in captured.inputs]
    pieces = [point.cpu().split(sizes) for point in points]
    for spec, parts in zip(captured.inputs, zip(*pieces, strict=True), strict=True):
        yield [exact(part.reshape(spec.shape)) for part in parts]


def _at(values: Sequence[Any], point: int) -> Any:
    return values[point if len(values) > 1 else 0]


def _stored(graph: fx.GraphModule, node: fx.Node, masks: set[fx.Node]) -> Any:
    value = operator.attrgetter(str(node.target))(graph).detach().cpu()
    if not value.is_floating_point():
        return value
    return exact(without_infinity(value) if node in masks else value)


def _called(node: fx.Node, values: Values, places: int, masks: set[fx.Node]) -> Sequence[Any]:
    count = max((len(values[source]) for source in node.all_input_nodes), default=1)
    points = ({one: _at(values[one], i) for one in node.all_input_nodes} for i in range(count))
    return [_result(node, point, places, masks) for point in points]


def _result(node: fx.Node, values: dict[fx.Node, Any], places: int, masks: set[fx.Node]) -> Any:
    """The call's at one point; `masks` are the nodes that may hold -inf."""
    args: Any = fx.node.map_arg(tuple(map(without_infinity, node.args)), values.__getitem__)
    if node in masks or any(source in masks for source in node.all_input_nodes):
        require_apart(node, [values[source] for source in node.all_input_nodes])
    if node.target is operator.getitem:
        return args[0][args[1]]
    if node.target is rounded:
        return args[0]
    kwargs: Any = fx.node.map_arg({k: without_infinity(v) for k, v in node.kwargs.items()}, values.__getitem__)
    if not isinstance(node.target, OpOverload):
        raise Unable(f"{node.target} is no operator")
    origin = node.meta.get("origin") or Origin(node.name, str(node.target))
    call = Call.bind(node.target, args, kwargs, origin)
    return evaluate_call(call, dict(call.arguments), places)


def _flat(value: Any) -> Number:
    digits = value if isinstance(value, Number) else exact(torch.as_tensor(value))
    return digits.moved(lambda v: v.reshape(-1))


def _joined(parts: list[Number]) -> Number:
    digits, exponent = aligned(parts)
    error = None
    if any(part.error is not None for part in parts):
        zeros = [torch.zeros(part.shape, dtype=torch.float64) if part.error is None else part.error for part in parts]
        error = torch.cat(zeros)
    return Number(torch.cat(digits, 1), exponent, error)
