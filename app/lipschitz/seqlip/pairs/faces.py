"""Why a pair's maximum is at most a value: a tree of faces of the slopes' box, each with multipliers that prove it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ...claims import Face, Proof
from .bounds import Boxes
from .pair import Pair

MOST_FACES = 4000
"""Nodes of a tree: more would take seconds to check."""
FEW = 7
"""Free slopes of a face whose vertices are tried instead."""


def of_vertices(value: float) -> Proof:
    """All vertices of the box do."""
    return Proof(value, (Face(),))


def of_multipliers(value: float, pair: Pair, multipliers: Tensor) -> Proof:
    """Multipliers `(n,)` that prove the value at once."""
    return Proof(value, (Face(multipliers=multipliers[pair.free]),))


def of_boxes(pair: Pair, root: Boxes, leaves: Boxes) -> Proof:
    """The leaves of a branch and bound, or its root's larger bound where they are too many."""
    tree = _tree(pair, leaves)
    if tree is None:
        return of_multipliers(float(root.bounds[0]), pair, root.multipliers[0])
    return Proof(float(leaves.bounds.max()), tree)


def of_alive(pair: Pair, proof: Proof) -> Proof:
    """The proof for the pair, from one without the slopes that are always 0."""
    position = torch.nonzero(pair.alive).squeeze(1).tolist()
    tree = (face if face.split is None else replace(face, split=position[face.split]) for face in proof.tree)
    return Proof(proof.value, tuple(tree))


def _tree(pair: Pair, leaves: Boxes) -> tuple[Face, ...] | None:
    """A slope that is fixed in all leaves of a part of the box splits it; None beyond `MOST_FACES`."""
    free = pair.lower < pair.upper
    waiting = [(torch.arange(len(leaves.bounds), device=free.device), free)]
    faces: list[Face] = []
    while waiting and len(faces) + len(waiting) <= MOST_FACES:
        inside, open_ = waiting.pop()
        if int(open_.sum()) <= FEW:
            faces.append(Face())
        elif len(inside) == 1:
            faces.append(Face(multipliers=leaves.multipliers[inside[0]][open_]))
        else:
            fixed = (leaves.lower[inside] == leaves.upper[inside]).all(0) & open_
            split = int(fixed.to(torch.uint8).argmax())
            low = leaves.upper[inside, split] == pair.lower[split]
            rest = open_.clone()
            rest[split] = False
            faces.append(Face(split=split))
            waiting += [(inside[~low], rest), (inside[low], rest)]
    return None if waiting else tuple(faces)
