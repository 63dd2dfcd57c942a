"""Branch and bound on a pair's slopes: boxes are halved into faces until none can hold a larger norm.

The norm is convex in s, so every slope is at one of its ends, and fixing a slope leaves two faces of a box. All boxes
of a round are bounded in one batch; the largest go first, so the certified value falls from round to round.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from app.lipschitz.pairs.ascent import ascend
from app.lipschitz.pairs.bounds import BoxBounds
from app.lipschitz.pairs.pair import Pair

_ENTRIES = 2**21
"""Entries of the matrices of one batch of boxes."""
_BOXES = 20_000
"""Open boxes at most: more of them will not be closed in any sensible time."""


@dataclass(frozen=True, eq=False)
class Boxes:
    """Open boxes: `lower` and `upper` are `(b, n)`, `bounds` `(b,)` certified, largest first."""

    lower: Tensor
    upper: Tensor
    bounds: Tensor

    def above(self, level: float) -> Boxes:
        """Those that may hold more than `level`, largest bound first."""
        order = torch.argsort(self.bounds, descending=True)
        order = order[self.bounds[order] > level]
        return Boxes(self.lower[order], self.upper[order], self.bounds[order])

    def split(self, count: int) -> tuple[Boxes, Boxes]:
        """The first `count` and the others."""
        return (
            Boxes(self.lower[:count], self.upper[:count], self.bounds[:count]),
            Boxes(self.lower[count:], self.upper[count:], self.bounds[count:]),
        )

    def joined(self, other: Boxes) -> Boxes:
        """Both together."""
        pairs = ((self.lower, other.lower), (self.upper, other.upper), (self.bounds, other.bounds))
        return Boxes(*(torch.cat(two) for two in pairs))


@dataclass(frozen=True, eq=False)
class Search:
    """What a search ended with: every norm in the box is at most `upper`; `slopes` is the best vertex met."""

    upper: float
    slopes: Tensor
    boxes: int


def branch(pair: Pair, bound: BoxBounds, slopes: Tensor, root: float, gap: float, deadline: float) -> Search:
    """Close the box from its certified bound `root` to within `gap` of the best vertex, or until the deadline."""
    batch = max(1, _ENTRIES // (pair.width * sum(pair.inner.shape) + 1))
    value = float(pair.values(slopes[None])[0])
    boxes = Boxes(pair.lower[None], pair.upper[None], torch.full_like(pair.lower[:1], root))
    closed, done = 0.0, 0
    while len(boxes.bounds) and len(boxes.bounds) < _BOXES and time.monotonic() < deadline:
        first, rest = boxes.split(batch)
        children = _children(pair, first, bound)
        slopes, value = _improved(pair, children, slopes, value)
        done += len(children.bounds)
        level = value * (1.0 + gap)
        together = rest.joined(children)
        closed = max(closed, _largest(together.bounds[together.bounds <= level]))
        boxes = together.above(level)
    return Search(max(closed, _largest(boxes.bounds)), slopes, done)


def _children(pair: Pair, boxes: Boxes, bound: BoxBounds) -> Boxes:
    """Two faces of every box; each keeps its parent's bound where that is less. A vertex is its own face."""
    fixed = _branching(pair, boxes)[:, None]
    low, high = boxes.lower.gather(1, fixed), boxes.upper.gather(1, fixed)
    lower = torch.cat([boxes.lower, boxes.lower.scatter(1, fixed, high)])
    upper = torch.cat([boxes.upper.scatter(1, fixed, low), boxes.upper])
    return Boxes(lower, upper, torch.minimum(bound(lower, upper), boxes.bounds.repeat(2)))


def _branching(pair: Pair, boxes: Boxes) -> Tensor:
    """In each box the slope whose range moves the matrix most, `(b,)`."""
    weight = torch.linalg.vector_norm(pair.outer, dim=0) * torch.linalg.vector_norm(pair.inner, dim=1)
    widest: Tensor = ((boxes.upper - boxes.lower) * weight).argmax(1)
    return widest


def _improved(pair: Pair, boxes: Boxes, slopes: Tensor, value: float) -> tuple[Tensor, float]:
    """A better vertex by ascents from the middles of the boxes, or the one that is there."""
    found = ascend(pair, 0.5 * (boxes.lower + boxes.upper), steps=10)
    values = pair.values(found)
    best = int(values.argmax())
    return (found[best], float(values[best])) if float(values[best]) > value else (slopes, value)


def _largest(bounds: Tensor) -> float:
    return float(bounds.max()) if len(bounds) else 0.0
