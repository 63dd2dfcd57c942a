"""Which pieces of a network LipSDP takes together."""

from __future__ import annotations

from collections.abc import Sequence

from ..bounds.local import Local
from ..network.maxima import is_maximum
from ..network.nodes import Activation, Affine, Concat
from ..walk.pieces import Piece, joined
from .sizes import is_large
from .torus.bound import longest_chain


def planned(
    finest: Sequence[Piece],
    split_size: int,
    local: Local,
    *,
    is_limited: bool = True,
    with_maxima: bool = False,
) -> list[Piece]:
    """Elementwise pieces joined, up to `split_size` affine layers (0: any number) and, if `is_limited`, largest sides.

    Those `with_maxima` between go together too, which gains in the 2-norm; in the inf-norm a maximum's constant is 1,
    and the ranges that a certificate carries on a bounded domain are those of the network's own nodes.

    Chains of convolutions beyond that side go together where the Fourier domain can hold them.
    """
    runs: list[list[Piece]] = []
    rest = list(finest)
    while rest:
        count = longest_chain(rest, split_size) if is_limited else 0
        if count and is_large(joined(rest[:count]), local):
            runs.append(rest[:count])
        elif runs and _may_join(runs[-1], rest[0], split_size, local, is_limited=is_limited, with_maxima=with_maxima):
            count = 1
            runs[-1].append(rest[0])
        else:
            count = 1
            runs.append(rest[:1])
        del rest[:count]
    return [part for run in runs for part in _trimmed(run)]


def _may_join(
    run: Sequence[Piece], piece: Piece, split_size: int, local: Local, *, is_limited: bool, with_maxima: bool
) -> bool:
    if not all(part.is_elementwise or (with_maxima and _is_written_out(part)) for part in (piece, run[-1])):
        return False
    depth = sum(1 for part in (*run, piece) if _is_affine(part))
    if 0 < split_size < depth:
        return False
    return not (is_limited and is_large(joined([*run, piece]), local))


def _trimmed(run: list[Piece]) -> list[Piece]:
    """Activations before the first and after the last affine layer gain nothing from the larger problem."""
    affine = [i for i, piece in enumerate(run) if _is_affine(piece)]
    if not affine:
        return run
    first, last = affine[0], affine[-1] + 1
    return [*run[:first], joined(run[first:last]), *run[last:]]


def _is_affine(piece: Piece) -> bool:
    return any(isinstance(node, Affine | Concat) for node in piece.nodes)


def _is_written_out(piece: Piece) -> bool:
    """Nothing but affine maps, activations and maxima over known windows."""
    return all(isinstance(node, Affine | Concat | Activation) or is_maximum(node) for node in piece.nodes)


def is_worthwhile(piece: Piece) -> bool:
    """Whether the semidefinite program can gain anything on AutoLip's product."""
    return _is_written_out(piece) and bool(piece.activations) and _is_affine(piece)
