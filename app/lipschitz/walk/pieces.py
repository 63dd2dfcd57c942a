"""A network cut into pieces one after another: its constant is at most the product of theirs.

A node through which every path goes cuts the network. Between cuts, a piece of affine maps and elementwise
activations alone can be bounded as a whole; any other piece is bounded by AutoLip's walk from its start.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..network.nodes import Activation, Affine, Concat, Network, Node
from ..operators.rounding import up_mul
from ..problem import Problem
from .walk import Branch, combine, ways_in
from .ways import Way


@dataclass(frozen=True, eq=False)
class Piece:
    """The nodes after `start` up to `end`, in topological order."""

    start: Node
    nodes: tuple[Node, ...]

    @property
    def end(self) -> Node:
        """The node that leaves the piece."""
        return self.nodes[-1]

    @property
    def is_elementwise(self) -> bool:
        """Nothing but affine maps and elementwise activations."""
        return all(isinstance(node, Affine | Concat | Activation) for node in self.nodes)

    @property
    def activations(self) -> tuple[Activation, ...]:
        """The activations of the piece."""
        return tuple(node for node in self.nodes if isinstance(node, Activation))


def cuts(network: Network) -> list[Piece]:
    """The finest pieces: one from every cutting node to the next."""
    position = {node: i for i, node in enumerate(network.nodes)}
    last_reader = dict.fromkeys(network.nodes, 0)
    for node in network.nodes:
        for source in node.sources:
            last_reader[source] = max(last_reader[source], position[node])
    pieces, first, reach = [], 0, 0
    for i, node in enumerate(network.nodes):
        if i > first and reach <= i:
            pieces.append(Piece(network.nodes[first], network.nodes[first + 1 : i + 1]))
            first = i
        reach = max(reach, last_reader[node])
    return pieces


def joined(pieces: Sequence[Piece]) -> Piece:
    """Consecutive pieces as one."""
    return Piece(pieces[0].start, tuple(node for piece in pieces for node in piece.nodes))


def constants_within(problem: Problem, piece: Piece) -> dict[Node, float]:
    """AutoLip's constants of the piece's nodes as functions of its start."""
    constants: dict[Node, float] = {piece.start: 1.0}
    for node in piece.nodes:
        ways = _ways(problem, node, constants)
        branches = [
            Branch(way.source, way.operator, way.factor, up_mul(way.factor, constants[way.source])) for way in ways
        ]
        constants[node] = combine(node, problem.p, branches)
    return constants


def _ways(problem: Problem, node: Node, known: Collection[Node]) -> Sequence[Way]:
    """The ways into a node from nodes of the piece; the walk's may start at a node before it, weights folded in."""
    ways = ways_in(node, problem.p, lambda operator: problem.norm_of(operator).upper, problem.local)
    if all(way.source in known for way in ways):
        return ways
    if isinstance(node, Activation):
        return [Way(node.source, None, float(problem.local.weights(node).max()))]
    left, right = node.sources
    return [
        Way(left, None, float(problem.local.magnitudes(right).max())),
        Way(right, None, float(problem.local.magnitudes(left).max())),
    ]
