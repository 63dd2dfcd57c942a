"""Best-first branch and bound on the phases of neurons, layer by layer.

In the first layer with a free neuron all pre-activations are affine in x, so a phase there is a half-space. A child is
dropped when its certified bound does not exceed the attained slope, or when its polytope is proved to be empty.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from ...deadline import Deadline
from ...problem import Details
from .anytime import Anytime
from .bounding import Bounding
from .bounds import enclose
from .emptiness import Proofs
from .model import Model
from .node import Branch, Face, Node, first_free, fixed, piece_ranges
from .polytope import THIN, room
from .tree import Tree

FLAT = 2.0**-40
"""Rows this small, relative to their layer's, may be zero: exact arithmetic tells."""
BATCH = 32
"""Nodes that are split together."""


@dataclass
class Counts:
    """What happened to the nodes: `unproved` were neither found to have room nor proved empty."""

    split: int = 0
    outbounded: int = 0
    empty: int = 0
    unproved: int = 0
    programs: int = 0


@dataclass
class Search(Anytime):
    """The open nodes; time is over at `deadline`."""

    model: Model
    bounding: Bounding
    proofs: Proofs
    deadline: Deadline
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        self._open: list[tuple[float, int, Node]] = []
        self._ticket = itertools.count()
        self._influence = influences(self.model)
        root = self._root()
        self.tree = Tree(self.model, root)
        self._consider([root])

    @property
    def remaining(self) -> float | None:
        """The largest bound among open nodes."""
        return -self._open[0][0] if self._open else None

    def details(self) -> Details:
        """Counts for the report."""
        return {"open": len(self._open), **asdict(self.counts)}

    def step(self) -> None:
        """Split the open nodes with the largest bounds."""
        nodes = [heapq.heappop(self._open)[2] for _ in range(min(self.bounding.batch(BATCH), len(self._open)))]
        nodes = [node for node in nodes if not self._is_done(node)]
        if not nodes:
            return
        pre = enclose(self.model, *piece_ranges(nodes)).pre
        families = [self._children(node, [p[i] for p in pre]) for i, node in enumerate(nodes)]
        self.counts.split += len(nodes)
        self._consider([child for family in families for child in family])

    def _is_done(self, node: Node) -> bool:
        if node.bound <= self.target:
            self.counts.outbounded += 1
        elif node.free.any():
            return False
        elif node.inside is None:
            self.counts.unproved += 1
        self.settled = max(self.settled, node.bound)
        return True

    def _root(self) -> Node:
        pieces = [layer.pieces.kinks.shape[1] for layer in self.model.layers]
        highest = np.repeat(pieces, [layer.size for layer in self.model.layers])
        box = self.proofs.borders
        centre = room(box) if len(box) else None
        inside, radius = (centre.centre, centre.radius) if centre else (np.zeros(self.model.size), 1.0)
        root = Node(np.zeros_like(highest), highest, (), box, float("inf"), inside, radius)
        return _planted(root)

    def _children(self, node: Node, pre: list[Tensor]) -> list[Node]:
        """The node split at a kink of the most influential free neuron of its first layer that has one."""
        layer, free = first_free(node, self.proofs.ends)
        rows = pre[layer].numpy()
        lengths = np.linalg.norm(rows[:, :-1], axis=1)
        neuron = int(free[np.argmax((self._influence[layer] * lengths)[free])])
        place = int(self.proofs.ends[layer]) + neuron
        face = Face(layer, neuron, int(node.lowest[place]), 1)
        row = rows[neuron].copy()
        if lengths[neuron] <= FLAT * self._influence[layer].size * np.abs(rows).max():
            constant = self.proofs.constant(node.lowest, face)
            if constant is not None:
                only = _planted(fixed(node, place, face.kink, above=constant > 0))
                halves = (None, only) if constant > 0 else (only, None)
                self.tree.divide(node, (layer, neuron), *halves)
                return [only]
        row[-1] -= float(self.model.layers[layer].pieces.kinks[neuron, face.kink])
        above = _planted(self._half(node, place, face, row))
        below = _planted(self._half(node, place, replace(face, sign=-1), -row))
        self.tree.divide(node, (layer, neuron), below, above)
        return [above, below]

    def _half(self, node: Node, place: int, face: Face, row: np.ndarray) -> Node:
        """The part of a node on one side of a face, with the node's point if that lies inside."""
        child = fixed(node, place, face.kink, above=face.sign > 0)
        child = replace(child, faces=(*node.faces, face), rows=np.vstack([node.rows, row]))
        if node.inside is None:
            return child
        away = float(row[:-1] @ node.inside + row[-1]) / max(float(np.linalg.norm(row[:-1])), 1e-300)
        room_left = min(node.radius, away)
        return replace(child, inside=node.inside if room_left > THIN else None, radius=max(room_left, 0.0))

    def _consider(self, nodes: list[Node]) -> None:
        """Bound new nodes and keep those that may raise the upper end."""
        if not nodes:
            return
        bounds = self.bounding(nodes, self.target, self.deadline)
        children = [replace(node, bound=min(node.bound, b)) for node, b in zip(nodes, bounds, strict=True)]
        kept = [node for node in children if node.bound > self.target]
        self.counts.outbounded += len(children) - len(kept)
        self.settled = max([self.settled, *(node.bound for node in children if node.bound <= self.target)])
        housed = [node if node.inside is not None or self.deadline.passed else self._housed(node) for node in kept]
        present = [node for node in housed if node is not None]
        self.incumbent.offer([node for node in present if node.inside is not None])
        for node in present:
            heapq.heappush(self._open, (-node.bound, next(self._ticket), node))

    def _housed(self, node: Node) -> Node | None:
        """The node with a point inside; None where it is proved empty, itself where neither can be told."""
        self.counts.programs += 1
        inner = room(node.rows)
        if inner is None:
            return node
        if inner.radius > THIN:
            return replace(node, inside=inner.centre, radius=inner.radius)
        faces = [*range(len(self.proofs.borders)), *node.faces]
        conflict = self.proofs.conflict(node.lowest, faces, inner.supports())
        if conflict is not None:
            self.counts.empty += 1
            if node.branch is not None:
                node.branch.conflict = conflict
            return None
        return replace(node, inside=inner.centre, radius=inner.radius) if inner.radius > 0 else node


def _planted(node: Node) -> Node:
    """The node with a leaf of the tree of its own."""
    return replace(node, branch=Branch((node.lowest, node.highest)))


def influences(model: Model) -> list[np.ndarray]:
    """How much each neuron's slope may matter for the output: its range times what is downstream, in magnitudes."""
    width = model.layers[-1].weight.shape[1]
    weights = torch.zeros(width + model.layers[-1].size, dtype=torch.float64)
    weights[width:] = 1.0
    influences = []
    for layer in reversed(model.layers):
        start = layer.weight.shape[1]
        own = weights[start : start + layer.size]
        slopes = layer.pieces.slopes
        influences.append((own * (slopes.amax(1) - slopes.amin(1))).numpy())
        weights[:start] += (own * slopes.abs().amax(1)) @ layer.weight.abs()
    return influences[::-1]
