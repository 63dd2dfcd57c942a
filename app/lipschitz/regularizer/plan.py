"""How AutoLip reads a torch module: where its graph of ATen operators is cut, and what lies between the cuts.

Every operator is shown to the service's own rule table, alone. Those that come out affine are run as they are, with
the module's live weights; a nonlinear one is replaced by its certified constant; the others are refused.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import fx, nn

from ..artifact.captured import Captured, Inspection, TensorSpec
from ..artifact.graphs import dependent_nodes
from ..errors import UnsupportedOperator
from ..network.build import build
from ..network.nodes import Affine, Concat, Input, Network
from ..operators.norm import norm
from ..walk.walk import walk
from .live import live_graph, only_output, stored_values

_DISJOINT = frozenset({torch.ops.aten.cat.default, torch.ops.aten.stack.default})


@dataclass(frozen=True, eq=False)
class Term:
    """The linear map from the value of `source` to that of `target`: the operators `nodes`, in order."""

    source: fx.Node
    target: fx.Node
    nodes: tuple[fx.Node, ...]


@dataclass(frozen=True, eq=False)
class Cut:
    """A point of the walk: `L = scale (sum_j ||A_j||^power L_j^power)^(1/power)` over the terms [VS18, Algorithm 1].

    `power` is 2 where the terms fill disjoint blocks, else 1; `scale` is the constant of the nonlinear `node`.
    """

    node: fx.Node
    terms: tuple[Term, ...]
    scale: float = 1.0
    power: int = 1


@dataclass(frozen=True, eq=False)
class Plan:
    """The walk through `graph`: `constants` are the nodes that no input reaches, `cuts` come in topological order."""

    graph: fx.GraphModule
    constants: tuple[fx.Node, ...]
    cuts: tuple[Cut, ...]


def plan(module: nn.Module, shape: Sequence[int]) -> Plan:
    """The plan of a module with one input of `shape`, batch axis included, and one output, in evaluation mode.

    Raises a LipschitzError naming the operator that has no rule, no constant, or a constant that is itself trained.
    """
    graph = live_graph(module, shape)
    dependent = dependent_nodes(graph)
    calls = [node for node in graph.graph.nodes if node.op in ("get_attr", "call_function")]
    constants = tuple(node for node in calls if node not in dependent)
    (start,) = graph.graph.find_nodes(op="placeholder")
    walked = _Walk(graph, constants, start)
    for node in calls:
        if node in dependent and not isinstance(node.meta.get("val"), tuple | list):
            walked.visit(node)
    return Plan(graph, constants, walked.finish(only_output(graph)))


class _Walk:
    """Finds each value's root, the last cut before it. A sum of values with different roots is a cut itself."""

    def __init__(self, graph: fx.GraphModule, constants: Sequence[fx.Node], start: fx.Node) -> None:
        self._values = stored_values(graph, constants)
        self._roots: dict[fx.Node, fx.Node] = {start: start}
        self._cuts: list[Cut] = []

    def visit(self, node: fx.Node) -> None:
        operands = [source for source in _operands(node) if source in self._roots]
        network = build(self._alone(node, operands), [0])
        if not _is_affine(network):
            self._cut(Cut(node, (self._to(operands[0]),), self._constant(node, operands, network)))
        elif len({self._roots[source] for source in operands}) > 1:
            self._cut(self._merge(node, operands))
        else:
            self._roots[node] = self._roots[operands[0]]

    def finish(self, output: fx.Node) -> tuple[Cut, ...]:
        if output not in self._roots:
            raise UnsupportedOperator("the module's output does not depend on its input")
        return tuple(self._cuts) if self._roots[output] is output else (*self._cuts, Cut(output, (self._to(output),)))

    def _cut(self, cut: Cut) -> None:
        self._cuts.append(cut)
        self._roots[cut.node] = cut.node

    def _merge(self, node: fx.Node, operands: Sequence[fx.Node]) -> Cut:
        roots = dict.fromkeys(self._roots[source] for source in operands)
        terms = tuple(Term(root, node, (*self._between(root, _operands(node)), *_parts(node))) for root in roots)
        return Cut(node, terms, power=2 if node.target in _DISJOINT else 1)

    def _to(self, target: fx.Node) -> Term:
        root = self._roots[target]
        return Term(root, target, self._between(root, [target]))

    def _between(self, root: fx.Node, targets: Sequence[fx.Node]) -> tuple[fx.Node, ...]:
        """The operators that lead from the root to the targets, in order."""
        nodes: dict[fx.Node, None] = {}
        pending = [target for target in targets if self._leads(root, target)]
        while pending:
            node = pending.pop()
            nodes |= dict.fromkeys(_parts(node))
            pending += [s for s in _operands(node) if s not in nodes and self._leads(root, s)]
        return tuple(node for node in root.graph.nodes if node in nodes)

    def _leads(self, root: fx.Node, node: fx.Node) -> bool:
        return node is not root and self._roots.get(node) is root

    def _alone(self, node: fx.Node, operands: Sequence[fx.Node]) -> Captured:
        """The one operator as a model: its dependent operands are the inputs."""
        graph, copies = fx.Graph(), {}
        for source in operands:
            copies[source] = graph.placeholder(source.name)
        stored = [source for source in _operands(node) if source not in copies]
        for source in stored:
            copies[source] = graph.get_attr(source.name)
        for part in _parts(node):
            copies[part] = graph.node_copy(part, copies.__getitem__)
        graph.output((copies[node],))
        values = {source.name: self._values[source].detach() for source in stored}
        inputs = tuple(TensorSpec(source.name, "FP64", source.meta["shape"]) for source in operands)
        inspection = Inspection("torch_export", inputs, (), 0, {})
        return Captured(
            fx.GraphModule(values, graph), inputs, (TensorSpec("y", "FP64", node.meta["shape"]),), inspection
        )

    def _constant(self, node: fx.Node, operands: Sequence[fx.Node], network: Network) -> float:
        origin = _parts(node)[0].meta["origin"]
        place = f"{origin.op} at '{origin.name}'"
        if len(operands) > 1:
            raise UnsupportedOperator(f"{place} combines dependent values nonlinearly: it cannot be regularised")
        if any(self._values[s].requires_grad for s in _operands(node) if s in self._values):
            raise UnsupportedOperator(
                f"the constant of {place} depends on trained weights: freeze them or leave it out"
            )
        return walk(network, "2", lambda linear: norm(linear).upper)[-1].cumulative


def _is_affine(network: Network) -> bool:
    return all(isinstance(node, Input | Affine | Concat) for node in network.nodes)


def _parts(node: fx.Node) -> tuple[fx.Node, ...]:
    """The operator behind a value: with the call that it is one of several results of, if so."""
    return (node.all_input_nodes[0], node) if node.target is operator.getitem else (node,)


def _operands(node: fx.Node) -> list[fx.Node]:
    """The tensors that a value's operator reads."""
    return _parts(node)[0].all_input_nodes if node.op == "call_function" else []
