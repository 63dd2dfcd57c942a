"""Which pieces of a network dense algebra can hold."""

from __future__ import annotations

from app.lipschitz.walk.pieces import Piece

LARGEST_SIDE = 5000
"""Input coordinates and neurons of one piece: its matrices take about 20 N^2 float64 numbers."""


def side(piece: Piece) -> int:
    """Neurons and input coordinates of the piece's system."""
    neurons = sum(node.size for node in piece.activations)
    return neurons + min(piece.start.size, next((node.size for node in piece.nodes), 0))


def is_large(piece: Piece) -> bool:
    """Whether the piece is more than dense algebra holds."""
    return side(piece) > LARGEST_SIDE
