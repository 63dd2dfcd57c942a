"""One pair, enclosed: attained from below by searches, certified from above by the cheapest way that closes the gap."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from app.lipschitz.pairs.ascent import ascend, best, starts
from app.lipschitz.pairs.bounds import BoxBounds, semidefinite_bounds, semidefinite_seconds
from app.lipschitz.pairs.branching import branch
from app.lipschitz.pairs.enumeration import LARGEST, enumerate_vertices
from app.lipschitz.pairs.greedy import greedy
from app.lipschitz.pairs.multiplier import multiplier_bound
from app.lipschitz.pairs.pair import Pair, alive

STARTS = 32
_SEMIDEFINITE = 0.3
"""Share of what is left that one semidefinite problem may cost; a wider pair gets the cheaper multiplier bound."""
_SEARCH = 0.2
"""Share of a pair's time that goes into the search from below."""


@dataclass(frozen=True)
class Enclosure:
    """attained <= max_s ||A diag(s) B|| <= certified; `method` says what `certified` rests on."""

    attained: float
    certified: float
    method: str


def enclose_maximum(pair: Pair, gap: float, deadline: float, seed: int = 0) -> Enclosure:
    """The pair's maximum, to a relative `gap` if that is reached by the deadline (of `time.monotonic`)."""
    pair = alive(pair)
    if pair.width == 0:
        return Enclosure(0.0, 0.0, "no slope")
    begun = time.monotonic()
    slopes = search(pair, STARTS, begun + _SEARCH * (deadline - begun), seed)
    if len(pair.free) <= LARGEST:
        upper, lower = enumerate_vertices(pair)
        return Enclosure(max(lower, pair.bracket(slopes[None]).lower), upper, "enumeration")
    root, bound, method = _root(pair, gap, deadline)
    if bound is None:
        return Enclosure(pair.bracket(slopes[None]).lower, root, method)
    found = branch(pair, bound, slopes, root, gap, deadline)
    return Enclosure(pair.bracket(found.slopes[None]).lower, found.upper, "branch and bound" if found.boxes else method)


def _root(pair: Pair, gap: float, deadline: float) -> tuple[float, BoxBounds | None, str]:
    """The whole box's certified bound, the bound to branch with (None: no use to), and what it is called."""
    box = pair.lower[None], pair.upper[None]
    if semidefinite_seconds(pair) < _SEMIDEFINITE * (deadline - time.monotonic()):
        semidefinite = semidefinite_bounds(pair, 0.5 * gap)
        root = float(semidefinite(*box)[0])
        if math.isfinite(root):
            return root, semidefinite, "semidefinite"
    return multiplier_bound(pair, deadline), None, "multiplier"


def search(pair: Pair, count: int, deadline: float, seed: int = 0) -> Tensor:
    """The best vertex `(n,)` of greedy and of `count` sign ascents, the best of these ended by greedy flips.

    At the deadline each of the three stops where it is.
    """
    generator = torch.Generator().manual_seed(seed)
    climbed = best(pair, ascend(pair, starts(pair, count, generator), deadline=deadline))
    return best(pair, torch.stack([climbed, greedy(pair, climbed, deadline), greedy(pair, None, deadline)]))
