"""Refuses models whose computation itself, not only its numbers, depends on the input's values.

One trace represents a model only if no branch, loop bound or size was decided by a number that came from the
input. Such decisions show in the trace: the value was read (`item`, `equal`) or an operator's result has a
size that depends on values (`nonzero`, boolean indexing).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.utils import _pytree as pytree

from ..artifact.graphs import dependent_nodes
from ..errors import DataDependentControlFlow, Discontinuous, StatefulModel, UnsupportedOperator

aten = torch.ops.aten

_INDEXING = frozenset({aten.index.Tensor, aten.index_put.default, aten._unsafe_index.Tensor})
_TABLES: dict[Any, int] = {aten.embedding.default: 1, aten.index_select.default: 2}
_CASTS = frozenset({aten._to_copy.default, aten.to.dtype})
_TAGS = frozenset({torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape})


def refuse_dependence(graph: GraphModule) -> list[str]:
    """Raise where values of the input steer the computation or look up tables, or where it is random.

    Returns warnings.
    A number read out of a constant that was computed in the model's own precision is frozen as rounded: that
    is the model which the bound is for, and worth a warning.
    """
    dependent = dependent_nodes(graph)
    for node in graph.graph.nodes:
        if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
            continue
        if torch.Tag.nondeterministic_seeded in node.target.tags and node.users:
            raise StatefulModel(
                f"Operator {node.target} is random: the model is not a function of its input. Of dropout in training "
                "mode: call model.eval() before the export."
            )
        if node in dependent and _steers(node):
            raise DataDependentControlFlow(
                f"A branch, loop or size depends on the input's values ({node.target} reads the result of "
                f"'{node.all_input_nodes[0].name}'), so one trace does not represent the model."
            )
        if node in dependent and _rounds(node):
            raise Discontinuous(
                f"A cast of '{node.all_input_nodes[0].name}' to {node.meta['val'].dtype} rounds values of the input: a "
                "step function has no finite constant. Export the model in one precision, without that cast."
            )
        if node in dependent and _looks_up(node, dependent):
            raise UnsupportedOperator(
                f"Operator {node.target} looks entries up at positions computed from the input: such integer "
                "inputs have no derivative."
            )
    return list(_rounded_scalars(graph, dependent))


def _steers(node: Node) -> bool:
    assert isinstance(node.target, torch._ops.OpOverload)
    if node.target in _INDEXING:
        indices = node.args[1]
        assert isinstance(indices, list | tuple)
        return any(_is_mask(index) for index in indices)
    return bool(_TAGS.intersection(node.target.tags))


def _rounds(node: Node) -> bool:
    """Whether real numbers are cast to a floating type that lacks numbers of theirs and of the model's inputs.

    Back from a wider type to that of the inputs is no step: every operator of the model rounds to it, and bounds are
    for the real function. So is a model in half precision throughout.
    """
    source = node.all_input_nodes[0]
    if node.target not in _CASTS or not (_is_floating(source) and _is_floating(node)):
        return False
    given = [one for one in node.graph.nodes if one.op == "placeholder" and _is_floating(one)]
    return _is_narrower(node, source) and any(_is_narrower(node, one) for one in given)


def _is_narrower(node: Node, other: Node) -> bool:
    new, old = (torch.finfo(one.meta["val"].dtype) for one in (node, other))
    return new.eps > old.eps or new.max < old.max or new.tiny > old.tiny


def _looks_up(node: Node, dependent: set[Node]) -> bool:
    return node.target in _TABLES and node.args[_TABLES[node.target]] in dependent


def _is_mask(index: object) -> bool:
    value = index.meta.get("val") if isinstance(index, Node) else None
    return isinstance(value, Tensor) and value.dtype in (torch.bool, torch.uint8)


def _rounded_scalars(graph: GraphModule, dependent: set[Node]) -> Iterator[str]:
    for node in graph.graph.nodes:
        if node.target is aten._local_scalar_dense.default and node not in dependent:
            (source,) = node.all_input_nodes
            if source.op == "call_function" and _is_floating(source) and source.target not in _READS:
                yield f"A number that {source.target} computes from constants is frozen as rounded by the model."


_READS = frozenset({aten.lift_fresh_copy.default, aten.select.int, aten.view.default, aten.alias.default})


def _is_floating(node: Node) -> bool:
    values = pytree.tree_leaves(node.meta.get("val"))
    return any(isinstance(value, Tensor) and value.is_floating_point() for value in values)
