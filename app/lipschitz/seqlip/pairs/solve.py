"""One pair, enclosed: attained from below by searches, certified from above by the cheapest way that closes the gap."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...claims import Proof
from ...deadline import Deadline, OutOfTime
from .ascent import ascend, best, starts
from .bounds import BoxBounds, semidefinite_bounds, semidefinite_work
from .branching import branch
from .enumeration import LARGEST, enumerate_vertices
from .faces import of_alive, of_boxes, of_multipliers, of_vertices
from .greedy import greedy
from .multiplier import weighted_bound
from .pair import Pair, alive

STARTS = 32
_SEMIDEFINITE = 0.3
"""Share of what is left that one semidefinite problem may cost; a wider pair gets the cheaper multiplier bound."""
_SEARCHING = 100.0
"""Multiplications over that cube of the shortest search."""
_SEARCH = 0.2
"""Share of a pair's time that goes into the search from below."""


@dataclass(frozen=True)
class Enclosure:
    """attained <= max_s ||A diag(s) B|| <= certified; `method` says what `certified` rests on.

    `proof` is what a certificate can show for it, if for a slightly larger value.
    """

    attained: float
    certified: float
    method: str
    proof: Proof | None = None


def enclose_maximum(pair: Pair, gap: float, deadline: Deadline, seed: int = 0) -> Enclosure:
    """The pair's maximum, to a relative `gap` if that is reached by the deadline."""
    living = alive(pair)
    if living.width == 0:
        return Enclosure(0.0, 0.0, "no slope")
    enclosures = _enclosed(living, gap, deadline, seed)
    return enclosures if enclosures.proof is None else replace(enclosures, proof=of_alive(pair, enclosures.proof))


def _enclosed(pair: Pair, gap: float, deadline: Deadline, seed: int) -> Enclosure:
    if not deadline.fits(_SEARCHING * _cube(pair)):
        return Enclosure(0.0, math.inf, "no time")
    slopes = search(pair, STARTS, deadline.share(_SEARCH), seed)
    if len(pair.free) <= LARGEST:
        with suppress(OutOfTime):
            upper, lower = enumerate_vertices(pair, deadline)
            return Enclosure(max(lower, pair.bracket(slopes[None]).lower), upper, "enumeration", of_vertices(upper))
    bound = semidefinite_bounds(pair, 0.5 * gap)
    if deadline.share(_SEMIDEFINITE).fits(semidefinite_work(pair)):
        root = float(bound.whole.bounds[0])
        if math.isfinite(root):
            return _branched(pair, bound, slopes, root=root, gap=gap, deadline=deadline)
    upper, multipliers = weighted_bound(pair, deadline)
    attained = pair.bracket(slopes[None]).lower
    return Enclosure(attained, upper, "multiplier", of_multipliers(upper, pair, multipliers))


def _cube(pair: Pair) -> float:
    """Sides of the pair's product and its smaller one once more: what a singular value decomposition grows with."""
    p, k = pair.outer.shape[0], pair.inner.shape[1]
    return float(p * k * min(p, k))


def _branched(
    pair: Pair, bound: BoxBounds, slopes: Tensor, *, root: float, gap: float, deadline: Deadline
) -> Enclosure:
    enclosure = branch(pair, bound, slopes, root=root, gap=gap, deadline=deadline)
    method = "branch and bound" if enclosure.boxes else "semidefinite"
    proof = of_boxes(pair, bound.whole, enclosure.leaves)
    return Enclosure(pair.bracket(enclosure.slopes[None]).lower, enclosure.upper, method, proof)


def search(pair: Pair, count: int, deadline: Deadline, seed: int = 0) -> Tensor:
    """The best vertex `(n,)` of greedy and of `count` sign ascents, the best of these ended by greedy flips.

    At the deadline each of the three stops where it is.
    """
    generator = torch.Generator().manual_seed(seed)
    climbed = best(pair, ascend(pair, starts(pair, count, generator), deadline=deadline))
    return best(pair, torch.stack([climbed, greedy(pair, climbed, deadline), greedy(pair, None, deadline)]))
