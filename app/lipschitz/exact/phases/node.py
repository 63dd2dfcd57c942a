"""One node of the search: a range of pieces for every neuron, and the half-spaces that it stands for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from app.lipschitz.exact.phases.tree import Branch


@dataclass(frozen=True)
class Face:
    """The half-space sign (a - kink) >= 0 for one neuron's pre-activation a."""

    layer: int
    neuron: int
    kink: int
    sign: int


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
