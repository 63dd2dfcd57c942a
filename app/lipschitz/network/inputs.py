"""Bounding with respect to one of several inputs: the others are held at zero."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.fx import GraphModule, Node

from ..artifact.captured import Captured
from ..errors import InvalidRequest


def with_input(captured: Captured, name: str | None) -> Captured:
    """The model as a function of the named input alone; all inputs together for None.

    Changes the graph in place: every other placeholder becomes a constant of zeros.
    """
    names = [spec.name for spec in captured.inputs]
    if name is not None and name not in names:
        raise InvalidRequest(f"the model has no input {name!r}: its inputs are {', '.join(names)}")
    if name is None or len(names) == 1:
        return captured
    placeholders = [node for node in captured.graph.graph.nodes if node.op == "placeholder"]
    for node, spec in zip(placeholders, captured.inputs, strict=True):
        if spec.name != name:
            _hold(captured.graph, node, spec.shape)
    captured.graph.recompile()
    warning = f"Bounded with respect to input '{name}'; the other inputs are held at zero."
    return replace(
        captured,
        inputs=tuple(spec for spec in captured.inputs if spec.name == name),
        warnings=(*captured.warnings, warning),
    )


def _hold(graph: GraphModule, placeholder: Node, shape: tuple[int, ...]) -> None:
    held = f"held_{placeholder.name}"
    graph.register_buffer(held, torch.zeros(shape, dtype=torch.float64))
    with graph.graph.inserting_before(placeholder):
        constant = graph.graph.get_attr(held)
    constant.meta = dict(placeholder.meta)
    placeholder.replace_all_uses_with(constant)
    graph.graph.erase_node(placeholder)
