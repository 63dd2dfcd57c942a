"""The captured graph at one point: the function of the stored weights itself, nothing folded."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload

from app.lipschitz.artifact.captured import Captured, Origin
from app.lipschitz.deadline import Deadline, OutOfTime
from app.lipschitz.digits.number import Number, Unable, aligned, exact
from app.lipschitz.digits.operators import evaluate as evaluate_call
from app.lipschitz.network.call import Call


def value_at(captured: Captured, outputs: Sequence[int], x: Tensor, places: int, deadline: Deadline) -> Number:
    """The outputs at those positions, laid end to end, at a flat input `(n,)`, with about `places` digits.

    Unable names what has no rule; OutOfTime where the deadline passes first.
    """
    pieces = x.cpu().split([torch.Size(spec.shape).numel() for spec in captured.inputs])
    given = iter(zip(pieces, captured.inputs, strict=True))
    values: dict[fx.Node, Any] = {}
    readers = {node: len(node.users) for node in captured.graph.graph.nodes}
    with torch.no_grad(), torch.device("cpu"):
        for node in captured.graph.graph.nodes:
            if deadline.passed:
                raise OutOfTime
            if node.op == "output":
                return _joined([_flat(values[node.args[0][position]]) for position in outputs])
            if node.op == "placeholder":
                piece, spec = next(given)
                values[node] = exact(piece.reshape(spec.shape))
            elif node.op == "get_attr":
                values[node] = _stored(captured.graph, node)
            else:
                values[node] = _called(node, values, places)
            for source in node.all_input_nodes:
                readers[source] -= 1
                if not readers[source]:
                    del values[source]  # large feature maps must not pile up
    raise Unable("a graph without output")


def _stored(graph: fx.GraphModule, node: fx.Node) -> Any:
    value = operator.attrgetter(str(node.target))(graph).detach().cpu()
    return exact(value) if value.is_floating_point() else value


def _called(node: fx.Node, values: dict[fx.Node, Any], places: int) -> Any:
    args: Any = fx.node.map_arg(node.args, values.__getitem__)
    if node.target is operator.getitem:
        return args[0][args[1]]
    kwargs: Any = fx.node.map_arg(node.kwargs, values.__getitem__)
    if not isinstance(node.target, OpOverload):
        raise Unable(f"{node.target} is no operator")
    origin = node.meta.get("origin") or Origin(node.name, str(node.target))
    call = Call.bind(node.target, args, kwargs, origin)
    return evaluate_call(call, dict(call.arguments), places)


def _flat(value: Any) -> Number:
    found = value if isinstance(value, Number) else exact(torch.as_tensor(value))
    return found.moved(lambda v: v.reshape(-1))


def _joined(parts: list[Number]) -> Number:
    digits, exponent = aligned(parts)
    error = None
    if any(part.error is not None for part in parts):
        zeros = [torch.zeros(part.shape, dtype=torch.float64) if part.error is None else part.error for part in parts]
        error = torch.cat(zeros)
    return Number(torch.cat(digits, 1), exponent, error)
