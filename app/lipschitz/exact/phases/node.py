"""One node of the search: a range of pieces for every neuron, the half-spaces that it stands for, and its branch."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Face:
    """The half-space sign (a - kink) >= 0 for one neuron's pre-activation a."""

    layer: int
    neuron: int
    kink: int
    sign: int


@dataclass(eq=False)
class Branch:
    """A node: split into what lies below and above the kink of `split`, (layer, neuron); or a leaf.

    A leaf has the ranges of its neurons' pieces; `conflict` are the faces and borders that prove it empty, None where
    it is bounded instead.
    """

    pieces: tuple[np.ndarray, np.ndarray] | None
    split: tuple[int, int] | None = None
    below: Branch | None = None
    above: Branch | None = None
    conflict: Sequence[Face | int] | None = None

    def divide(self, split: tuple[int, int], below: Node | None, above: Node | None) -> None:
        """Become a node with two halves; None for a half that the split itself proves empty."""
        self.pieces, self.split = None, split
        self.below, self.above = (
            Branch(None, conflict=[Face(*split, 0, sign)]) if half is None else half.branch
            for half, sign in ((below, -1), (above, 1))
        )


@dataclass(frozen=True, eq=False)
class Node:
    """Pieces from `lowest` to `highest`, `(N,)` each, at the points of `rows (x, 1) >= 0`.

    The rows are the domain's, then one for each of `faces`. `bound` is a certified upper bound of ||J||; `inside` a
    point with a ball of `radius` around it in the polytope, None where none is known; `branch` its place in the tree.
    """

    lowest: np.ndarray
    highest: np.ndarray
    faces: tuple[Face, ...]
    rows: np.ndarray
    bound: float
    inside: np.ndarray | None = None
    radius: float = 0.0
    branch: Branch | None = None

    @property
    def free(self) -> np.ndarray:
        """Which neurons have more than one piece left, `(N,)`."""
        free: np.ndarray = self.lowest < self.highest
        return free


def first_free(node: Node, ends: Sequence[int]) -> tuple[int, np.ndarray]:
    """The first layer with a free neuron, and its free neurons; `ends` are the layers' first neurons and N."""
    free = node.free
    place = int(np.flatnonzero(free)[0])
    layer = bisect_right(ends, place) - 1
    return layer, np.flatnonzero(free[ends[layer] : ends[layer + 1]])


def fixed(node: Node, place: int, kink: int, *, above: bool) -> Node:
    """The node with one neuron's pieces cut off on one side of a kink."""
    lowest, highest = node.lowest.copy(), node.highest.copy()
    if above:
        lowest[place] = kink + 1
    else:
        highest[place] = kink
    return replace(node, lowest=lowest, highest=highest)


def piece_ranges(nodes: Sequence[Node]) -> tuple[Tensor, Tensor]:
    """The least and greatest pieces of several nodes, `(P, N)` each."""
    lowest, highest = np.stack([node.lowest for node in nodes]), np.stack([node.highest for node in nodes])
    return torch.from_numpy(lowest), torch.from_numpy(highest)
