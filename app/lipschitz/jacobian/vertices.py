"""Entries of the Jacobian where few neurons are open: its extremes over all slopes are at the slopes' ends.

An entry is affine in each slope apart, so it is least and largest at a vertex (`exact.vertices`). The sum of a row's
magnitudes is convex in each, so it is largest at one too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch

from ..bounds.entries import Entries
from ..bounds.local import Local
from ..deadline import Deadline
from ..errors import MethodSkipped
from ..exact.folded import Folded
from ..exact.vertices import LARGEST, MOST_ENTRIES
from ..lipsdp.region import Region, region_of, varying
from ..network.ends import outward
from ..network.intervals import Interval
from ..network.nodes import Activation, Affine, Concat, Network, Node
from ..operators.rounding import TINY, gamma
from ..problem import Problem
from ..walk.pieces import Piece, constants_within

MOST_WORK = 2e9
"""Multiplications for all vertices."""
SMALL_PRODUCTS = 10.0
"""They are so many times slower in matrices this small."""
FARTHEST = 900
"""Largest exponent of the output's scale, a power of two, that neither overflows nor underflows."""


def by_vertices(problem: Problem, network: Network, ranges: Mapping[Node, Interval]) -> Entries | None:
    """Enclosures over all vertices; None where they are too many, or nodes are more than activations."""
    start, *nodes = network.nodes
    if not nodes or not all(isinstance(node, Affine | Concat | Activation) for node in nodes):
        return None
    slopes = {node: _slopes(node, ranges) for node in nodes if isinstance(node, Activation)}
    count = sum(int(varying(*ends).sum()) for ends in slopes.values())
    if not 0 < count <= LARGEST:
        return None
    work = 2.0**count * count * (count + network.output.size) * (count + start.size)
    if work > MOST_WORK or not problem.deadline.fits(SMALL_PRODUCTS * work):
        return None
    mine = replace(problem, network=network)
    mine.__dict__["local"] = Local(network, problem.domain, problem.deadline, given=ranges)
    constants = constants_within(mine, Piece(start, tuple(nodes)))
    if not all(math.isfinite(constant) for constant in constants.values()):
        return None
    try:
        region = region_of(start, nodes[-1], nodes, slopes, constants, by_layer=False, narrow=False)
    except MethodSkipped:
        return None
    if not isinstance(region, Region) or region.system.inputs != start.size or abs(region.exponent) > FARTHEST:
        return None
    return _extremes(Folded.of(region), problem.deadline)


def _slopes(node: Activation, ranges: Mapping[Node, Interval]) -> tuple[torch.Tensor, torch.Tensor]:
    source = ranges[node.source]
    return node.scalar.slopes(source.lower, source.upper)


def _extremes(folded: Folded, deadline: Deadline) -> Entries | None:
    """The least and the largest of every entry, what was computed wrongly counted."""
    size = (folded.c.shape[0] + folded.count) * folded.inputs
    least, most, sums = [], [], []
    for part in torch.arange(2**folded.count).split(max(1, MOST_ENTRIES // size)):
        deadline.check()
        bits = (part[:, None] >> torch.arange(folded.count)) & 1
        slopes = torch.where(bits.bool(), folded.upper, folded.lower)
        jacobians, error = folded.jacobians(slopes), folded.error(slopes)
        least.append(jacobians.amin(0) - error)
        most.append(jacobians.amax(0) + error)
        sums.append((jacobians.abs() + error).sum(2).amax(0))
    lower, upper = torch.stack(least).amin(0), torch.stack(most).amax(0)
    if not bool(torch.isfinite(lower).all() & torch.isfinite(upper).all()):
        return None
    scale = 2.0**folded.exponent
    lower, upper = outward(lower, upper)
    largest = torch.stack(sums).amax(0) * (1.0 + 4.0 * gamma(folded.inputs + 4))
    return Entries(*outward(lower * scale, upper * scale), largest * scale + TINY)
