"""A network cut into pieces one after another: its constant is at most the product of theirs.

A node through which every path goes cuts the network. Between cuts, a piece of affine maps and elementwise
activations alone can be bounded as a whole; any other piece is bounded by AutoLip's walk from its start.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from app.lipschitz.methods.walk import Branch, combine, ways_in
from app.lipschitz.methods.ways import Way
from app.lipschitz.network.nodes import Activation, Affine, Concat, Network, Node
from app.lipschitz.operators.rounding import up_mul
from app.lipschitz.problem import Problem
from app.lipschitz.sdp.elimination import eliminated

LARGEST_SIDE = 5000
"""Input coordinates and neurons of one piece: its matrices take about 20 N^2 float64 numbers."""

LARGEST_REST, LARGEST_ENTRIES = 8500, 2**27
"""Of a wide chain: side of what eliminating layers leaves, in about 6 matrices, and weights, in about 4 copies."""


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


def side(piece: Piece) -> int:
    """Neurons and input coordinates of the piece's system."""
    neurons = sum(node.size for node in piece.activations)
    return neurons + min(piece.start.size, next((node.size for node in piece.nodes), 0))


def is_large(piece: Piece) -> bool:
    """Whether the piece is more than dense algebra holds."""
    return side(piece) > LARGEST_SIDE


def is_wide_chain(piece: Piece, is_curved: Callable[[Activation], bool]) -> bool:
    """A plain chain of layers that `sdp.wide` can hold; `is_curved` tells where it can eliminate none before."""
    before = (piece.start, *piece.nodes)
    chain = all(node.sources == (last,) for last, node in zip(before, piece.nodes, strict=False))
    if not (chain and piece.is_elementwise):
        return False
    ends = [] if isinstance(piece.end, Activation) else [piece.end]
    widths = [node.size for node in (piece.start, *piece.activations, *ends)]
    may_go = [*(not is_curved(node) for node in piece.activations), True, *(True for _ in ends)]
    gone = eliminated(widths, may_go)
    rest = sum(width for k, width in enumerate(widths) if k not in gone)
    return rest <= LARGEST_REST and sum(a * b for a, b in pairwise(widths)) <= LARGEST_ENTRIES


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
