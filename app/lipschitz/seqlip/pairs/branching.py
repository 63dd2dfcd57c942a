"""Branch and bound on a pair's slopes: boxes are halved into faces until none can hold a larger norm.

The norm is convex in s, so every slope is at one of its ends, and fixing a slope leaves two faces of a box. All boxes
of a round are bounded in one batch; the largest go first, so the certified value falls from round to round.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...deadline import Deadline, Laps
from .ascent import ascend
from .bounds import BoxBounds, Boxes
from .pair import Pair

_ENTRIES = 2**21
"""Entries of the matrices of one batch of boxes."""
_BOXES = 20_000
"""Open boxes at most: more of them will not be closed in any sensible time."""


@dataclass(frozen=True, eq=False)
class Search:
    """What a search ended with: every norm in the box is at most `upper`; `slopes` is the best vertex met.

    `leaves` make up the box; `boxes` counts all that were bounded after it.
    """

    upper: float
    slopes: Tensor
    boxes: int
    leaves: Boxes


def branch(pair: Pair, bound: BoxBounds, slopes: Tensor, *, root: float, gap: float, deadline: Deadline) -> Search:
    """Close the box from its certified bound `root` to within `gap` of the best vertex, or until the deadline."""
    batch = max(1, _ENTRIES // (pair.width * sum(pair.inner.shape) + 1))
    value = float(pair.values(slopes[None])[0])
    boxes = replace(bound.whole, bounds=bound.whole.bounds.clamp(max=root))
    closed, done, laps = boxes[:0], 0, Laps(deadline)
    while len(boxes.bounds) and len(boxes.bounds) < _BOXES and not laps.is_last():
        first, rest = boxes[:batch], boxes[batch:]
        children = _children(pair, first, bound)
        slopes, value = _improved(pair, children, slopes, value)
        done += len(children.bounds)
        level = value * (1.0 + gap)
        together = rest.joined(children)
        closed = closed.joined(together[together.bounds <= level])
        boxes = together.above(level)
    leaves = closed.joined(boxes)
    return Search(float(leaves.bounds.max()), slopes, done, leaves)


def _children(pair: Pair, boxes: Boxes, bound: BoxBounds) -> Boxes:
    """Two faces of every box; each keeps its parent's bound where that is less, and the multipliers, which prove it for
    any face. A vertex is its own face.
    """
    fixed = _branching(pair, boxes)[:, None]
    low, high = boxes.lower.gather(1, fixed), boxes.upper.gather(1, fixed)
    lower = torch.cat([boxes.lower, boxes.lower.scatter(1, fixed, high)])
    upper = torch.cat([boxes.upper.scatter(1, fixed, low), boxes.upper])
    values, parents = bound.boxes(lower, upper), boxes.joined(boxes)
    better = values.bounds < parents.bounds
    bounds = torch.where(better, values.bounds, parents.bounds)
    return Boxes(lower, upper, bounds, torch.where(better[:, None], values.multipliers, parents.multipliers))


def _branching(pair: Pair, boxes: Boxes) -> Tensor:
    """In each box the slope whose range moves the matrix most, `(b,)`."""
    weight = torch.linalg.vector_norm(pair.outer, dim=0) * torch.linalg.vector_norm(pair.inner, dim=1)
    widest: Tensor = ((boxes.upper - boxes.lower) * weight).argmax(1)
    return widest


def _improved(pair: Pair, boxes: Boxes, slopes: Tensor, value: float) -> tuple[Tensor, float]:
    """A better vertex by ascents from the middles of the boxes, or the one that is there."""
    points = ascend(pair, 0.5 * (boxes.lower + boxes.upper), steps=10)
    values = pair.values(points)
    best = int(values.argmax())
    return (points[best], float(values[best])) if float(values[best]) > value else (slopes, value)
