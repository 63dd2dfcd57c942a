"""Two captured graphs of the same inputs and outputs as one graph, with their outputs' differences.

Equal steps are one node: the same operator with the same settings on the same values, weights compared bit by bit.
So what the two models share is bounded once, and where all outputs are one node each, the functions are identical in
real arithmetic. A few spellings that the formats differ in count as equal, those of `equal_steps`.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.node import map_arg

from ..artifact.captured import Captured, Origin, TensorSpec
from ..artifact.graphs import results
from ..errors import IncomparableModels
from .equal_steps import ROOT, same_value, step_key

aten = torch.ops.aten


@dataclass(frozen=True, eq=False)
class Joint:
    """Both functions in one graph, whose outputs are the differences, then those of the first, then the second's."""

    captured: Captured
    outputs: int
    """How many outputs each model has."""

    @property
    def differences(self) -> list[int]:
        """Positions of the differences among the outputs."""
        return list(range(self.outputs))

    @property
    def first(self) -> list[int]:
        """Positions of the first model's own."""
        return list(range(self.outputs, 2 * self.outputs))

    @property
    def second(self) -> list[int]:
        """Positions of the second model's own."""
        return list(range(2 * self.outputs, 3 * self.outputs))

    @property
    def identical(self) -> bool:
        """Whether both models are the same function: every pair of outputs is one node."""
        ends = results(self.captured.graph)
        return all(ends[i] is ends[j] for i, j in zip(self.first, self.second, strict=True))


def join(a: Captured, b: Captured) -> Joint:
    """Both graphs as one. IncomparableModels where inputs or outputs differ in number or shape."""
    _check(a.inputs, b.inputs, "inputs")
    _check(a.outputs, b.outputs, "outputs")
    joining = _Joining(a.inputs)
    first, second = joining.add(a, "a"), joining.add(b, "b")
    differences = [joining.difference(x, y, spec) for x, y, spec in zip(first, second, a.outputs, strict=True)]
    graph = joining.finish([*differences, *first, *second])
    outputs = tuple(
        replace(spec, name=f"{spec.name}{suffix}") for suffix in ("", " of a", " of b") for spec in a.outputs
    )
    warnings = tuple(dict.fromkeys((*a.warnings, *b.warnings)))
    return Joint(replace(a, graph=graph, outputs=outputs, warnings=warnings, left_out=""), len(a.outputs))


def _check(a: Sequence[TensorSpec], b: Sequence[TensorSpec], what: str) -> None:
    shapes = [[list(spec.shape) for spec in specs] for specs in (a, b)]
    if shapes[0] != shapes[1]:
        raise IncomparableModels(
            f"the models cannot be compared: the {what} of the first are {shapes[0]}, those of the second {shapes[1]}"
        )


class _Joining:
    """The growing graph."""

    def __init__(self, inputs: Sequence[TensorSpec]) -> None:
        self._graph = fx.Graph()
        self._stored: dict[str, Tensor] = {}
        self._known: dict[object, fx.Node] = {}
        self._inputs = [self._graph.create_node("placeholder", f"input{i}") for i in range(len(inputs))]
        for node, spec in zip(self._inputs, inputs, strict=True):
            node.meta = {"origin": Origin(spec.name, "input"), "datatype": spec.datatype, "shape": tuple(spec.shape)}

    def add(self, captured: Captured, prefix: str) -> list[fx.Node]:
        """The model's outputs, in the joint graph."""
        placed: dict[fx.Node, fx.Node] = {}
        inputs = iter(self._inputs)
        for node in captured.graph.graph.nodes:
            if node.op == "placeholder":
                placed[node] = next(inputs)
            elif node.op == "get_attr":
                placed[node] = self._tensor(captured, node, prefix)
            elif node.op == "call_function":
                placed[node] = self._call(node, placed, prefix)
        return [placed[node] for node in results(captured.graph)]

    def difference(self, first: fx.Node, second: fx.Node, spec: TensorSpec) -> fx.Node:
        node = self._graph.create_node("call_function", aten.sub.Tensor, (first, second))
        node.meta = {"origin": Origin(f"difference of {spec.name}", "Sub"), "shape": tuple(spec.shape)}
        node.meta |= {"datatype": spec.datatype, "target": None}
        return node

    def finish(self, ends: Sequence[fx.Node]) -> fx.GraphModule:
        """The graph with these outputs."""
        self._graph.output(tuple(ends))
        return fx.GraphModule(self._stored, self._graph)

    def _tensor(self, captured: Captured, node: fx.Node, prefix: str) -> fx.Node:
        tensor = operator.attrgetter(str(node.target))(captured.graph).detach()
        return self._known_as(("stored", *same_value(tensor)), lambda: self._new_tensor(tensor, node, prefix))

    def _new_tensor(self, tensor: Tensor, node: fx.Node, prefix: str) -> fx.Node:
        name = f"{prefix}_{len(self._stored)}"
        self._stored[name] = tensor
        return self._made(self._graph.create_node("get_attr", name, name=f"{prefix}_{node.name}"), node)

    def _call(self, node: fx.Node, placed: Mapping[fx.Node, fx.Node], prefix: str) -> fx.Node:
        args: Any = map_arg(node.args, placed.__getitem__)
        kwargs: Any = map_arg(node.kwargs, placed.__getitem__)
        key = step_key(node, args, kwargs)
        if isinstance(key, fx.Node):
            return key

        def make() -> fx.Node:
            name = f"{prefix}_{node.name}"
            made = self._made(self._graph.create_node("call_function", node.target, args, kwargs, name), node)
            if isinstance(key, tuple) and key[0] == "reshape":
                made.meta[ROOT] = key[1]
            return made

        return make() if key is None else self._known_as(key, make)

    def _known_as(self, key: object, make: Any) -> fx.Node:
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]

    @staticmethod
    def _made(new: fx.Node, old: fx.Node) -> fx.Node:
        new.meta = dict(old.meta)
        return new
