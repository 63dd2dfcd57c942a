"""Which pieces of a network dense algebra can hold."""

from __future__ import annotations

from collections.abc import Iterable

from ..bounds.local import Local
from ..network.nodes import Activation
from ..walk.pieces import Piece
from .region import varying

LARGEST_SIDE = 5000
"""Input coordinates and neurons of one piece: its matrices take about 20 N^2 float64 numbers."""


def open_neurons(activations: Iterable[Activation], local: Local) -> int:
    """Neurons that can have more than one slope on the domain; all of them on the whole space, without a look."""
    if not local.bounded:
        return sum(node.size for node in activations)
    return sum(int(varying(*local.slopes(node)).sum()) for node in activations)


def side(piece: Piece, local: Local) -> int:
    """Open neurons and input coordinates of the piece's system: neurons of one slope fold into the next map.

    An input is no wider than what reads it: the first layer where nothing folds, open neurons and outputs elsewhere.
    """
    count = open_neurons(piece.activations, local)
    folds = count < sum(node.size for node in piece.activations)
    first = next((node.size for node in piece.nodes), 0)
    return count + min(piece.start.size, count + piece.end.size if folds else first)


def is_large(piece: Piece, local: Local) -> bool:
    """Whether the piece is more than dense algebra holds."""
    return side(piece, local) > LARGEST_SIDE
