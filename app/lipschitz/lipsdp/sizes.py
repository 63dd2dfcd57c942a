"""Which pieces of a network LipSDP's solvers can hold."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from app.lipschitz.lipsdp.deep.elimination import eliminated
from app.lipschitz.network.nodes import Activation
from app.lipschitz.walk.pieces import Piece

LARGEST_SIDE = 5000
"""Input coordinates and neurons of one piece: its matrices take about 20 N^2 float64 numbers."""

LARGEST_REST, LARGEST_ENTRIES = 8500, 2**27
"""Of a wide chain: side of what eliminating layers leaves, in about 6 matrices, and weights, in about 4 copies."""


def side(piece: Piece) -> int:
    """Neurons and input coordinates of the piece's system."""
    neurons = sum(node.size for node in piece.activations)
    return neurons + min(piece.start.size, next((node.size for node in piece.nodes), 0))


def is_large(piece: Piece) -> bool:
    """Whether the piece is more than dense algebra holds."""
    return side(piece) > LARGEST_SIDE


def is_wide_chain(piece: Piece, is_curved: Callable[[Activation], bool]) -> bool:
    """A plain chain of layers that `lipsdp.wide` can hold; `is_curved` tells where it can eliminate none before."""
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
