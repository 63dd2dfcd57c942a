"""The captured graph for people: what is analysed, node by node, and by which rule."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any

from torch.fx import Node

from ..contract.graph import GraphDigest, GraphEnd, GraphFacts, NodeView, OriginView
from .artifact import digest, from_bytes
from .artifact.captured import Origin, TensorSpec
from .artifact.graphs import dependent_nodes, operator_name, short_name
from .catalog import OPERATORS
from .network.heads import choices

MAX_SIZE = 30_000
"""Nodes and edges that are told; what comes after them is cut off."""
MAX_NAME = 256
"""Characters of a name from the file."""

RULES = {info.operator: info.rule for info in OPERATORS}
NOT_CALLED = {"placeholder": "input", "get_attr": "stored"}


def graph(artifact: bytes) -> GraphFacts:
    """The captured graph in an artifact. An operator without a rule is no error here. Raises InvalidArtifact."""
    captured = from_bytes(artifact)
    *nodes, end = captured.graph.graph.nodes
    index = {node: position for position, node in enumerate(_first(nodes))}
    dependent = dependent_nodes(captured.graph)
    placeholders = [node for node in nodes if node.op == "placeholder"]
    return GraphFacts(
        graph=GraphDigest(sha256=digest(artifact)),
        nodes=[_view(node, index, is_constant=node not in dependent) for node in index],
        inputs=_ends(captured.inputs, placeholders, index),
        outputs=_ends(captured.outputs, end.args[0], index),
        choices=[name[:MAX_NAME] for name in choices(captured)],
        node_count=len(nodes),
        truncated=len(index) < len(nodes),
    )


def _first(nodes: Sequence[Node]) -> list[Node]:
    """As many as may be told; no node reads a later one, so what they read is among them."""
    kept, size = [], 0
    for node in nodes:
        size += 1 + len(node.all_input_nodes)
        if size > MAX_SIZE:
            break
        kept.append(node)
    return kept


def _view(node: Node, index: Mapping[Node, int], *, is_constant: bool) -> NodeView:
    shape = node.meta.get("shape")
    return NodeView(
        index=index[node],
        name=node.name,
        op=_operator(node),
        inputs=[index[source] for source in node.all_input_nodes],
        shape=None if shape is None else list(shape),
        datatype=node.meta.get("datatype"),
        parameters=math.prod(shape) if node.op == "get_attr" and shape is not None else 0,
        rule=_rule(node),
        origin=_origin(node),
        constant=is_constant,
    )


def _operator(node: Node) -> str:
    """'aten.addmm.default'; `getitem` is one result of an operator with several."""
    return "getitem" if _is_item(node) else NOT_CALLED.get(node.op) or operator_name(node)


def _is_item(node: Node) -> bool:
    return node.target is operator.getitem


def _rule(node: Node) -> str | None:
    """The operator's in the catalogue; a result's is that of its operator."""
    called = node.all_input_nodes[0] if _is_item(node) else node
    return RULES.get(operator_name(called)) if called.op == "call_function" else None


def _origin(node: Node) -> OriginView | None:
    """Place and operator in the file; None where tracing found none and named the node after itself."""
    origin = node.meta.get("origin")
    if not isinstance(origin, Origin) or origin == Origin(node.name, short_name(node)):
        return None
    return OriginView(name=origin.name[:MAX_NAME], op=origin.op[:MAX_NAME])


def _ends(specs: Sequence[TensorSpec], nodes: Any, index: Mapping[Node, int]) -> list[GraphEnd]:
    """Inputs or outputs with their nodes; None for a node that was cut off."""
    return [
        GraphEnd(name=spec.name, datatype=spec.datatype, shape=list(spec.shape), node=index.get(node))
        for spec, node in zip(specs, nodes, strict=True)
    ]
