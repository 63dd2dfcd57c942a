"""Nested dissection (A. George, SIAM J. Numer. Anal. 10 (1973)): where to cut images so that little meets across.

A region of all images together is halved along one side; what meets the other half is the separator, eliminated after
both. Cells, all maps of one node at one pixel, go together; a convolution of 7 taps cuts three pixels of its input
and one of what it feeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..network.nodes import Node

Positions = NDArray[np.intp]
LEAF = 128
"""Variables of a region that is not halved any more."""
PART = 256
"""Variables of a part of a separator, about."""


@dataclass(frozen=True, eq=False)
class Cells:
    """Variables by cell: `own` `(N,)` tells each one's cell, -1 for none; `at` `(cells, d)` their places in [0, 1)."""

    own: NDArray[np.intp]
    at: NDArray[np.float64]

    @cached_property
    def sizes(self) -> NDArray[np.intp]:
        return np.bincount(self.own[self.own >= 0], minlength=len(self.at))

    def meeting(self, pattern: sp.csr_array) -> sp.csr_array:
        """Ones where two cells meet."""
        inside = np.flatnonzero(self.own >= 0)
        count = len(inside), len(self.at)
        member = sp.csr_array((np.ones(len(inside)), (np.arange(len(inside)), self.own[inside])), shape=count)
        shared: sp.csr_array = (member.T @ pattern[inside][:, inside] @ member).tocsr()
        return shared

    def variables(self, cells: NDArray[np.intp]) -> Positions:
        """Those of some cells, in order."""
        return np.flatnonzero(np.isin(self.own, cells))


def cells_of(places: Sequence[tuple[Node, Positions]], pattern: sp.csr_array) -> Cells | None:
    """Of the nodes with images of the commonest number of sides; None where not even two have them.

    Flat inputs, the first of the places, lie where the first neuron on an image lies that reads them.
    """
    images = [len(sides_of(node)) for node, _ in places if sides_of(node)]
    if len(images) < 2:
        return None
    sides = max(images, key=images.count)
    own, at, top, first = np.full(pattern.shape[0], -1, dtype=np.intp), [], 0, 0
    for node, positions in places:
        if len(sides_of(node)) == sides:
            pixels, cells = np.unique(positions % math.prod(sides_of(node)), return_inverse=True)
            own[first : first + len(positions)] = top + cells
            where = np.stack(np.unravel_index(pixels, sides_of(node)), 1)
            at.append((where + 0.5) / np.array(sides_of(node)))
            top += len(pixels)
        first += len(positions)
    if not sides_of(places[0][0]):
        _join(own, pattern, len(places[0][1]))
    return Cells(own, np.concatenate(at))


def sides_of(node: Node) -> tuple[int, ...]:
    """The sides of the node's images; none for a vector."""
    sides = node.shape[2:]
    return sides if math.prod(sides) > 1 else ()


def _join(own: NDArray[np.intp], pattern: sp.csr_array, inputs: int) -> None:
    """Flat inputs go to the cell of the first neuron on an image that reads them."""
    for position in range(inputs):
        readers = own[pattern.indices[pattern.indptr[position] : pattern.indptr[position + 1]]]
        readers = readers[readers >= 0]
        if len(readers):
            own[position] = readers[0]


def dissected(cells: Cells, pattern: sp.csr_array) -> list[Positions]:
    """The variables of the cells, part by part in the order of their elimination."""
    meeting = cells.meeting(pattern)
    order = _order(cells, meeting, np.arange(len(cells.at)))
    return [cells.variables(part) for region in order if len(region) for part in _parts(cells, region)]


def _order(cells: Cells, meeting: sp.csr_array, region: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    """Leaves and separators of a region, some of them empty, separators behind what they separate."""
    cut = _cut(cells, meeting, region) if cells.sizes[region].sum() > LEAF else None
    if cut is None:
        yield region
        return
    *halves, separator = cut
    for half in halves:
        yield from _order(cells, meeting, half)
    yield separator


def _cut(cells: Cells, meeting: sp.csr_array, region: NDArray[np.intp]) -> list[NDArray[np.intp]] | None:
    """Two parts that do not meet and their separator, the smallest over the sides of the images; None if none helps."""
    best, least = None, math.inf
    for at in cells.at[region].T:
        ends = np.unique(at)
        if len(ends) < 2:
            continue
        middle = ends[np.searchsorted(np.cumsum(_weights(cells, region, at, ends)), 0.5)]
        left, right = region[at < max(middle, ends[1])], region[at >= max(middle, ends[1])]
        for one, other in ((left, right), (right, left)):
            touched = meeting[one][:, other].sum(1) > 0
            size = cells.sizes[one[touched]].sum()
            if size < least and size < cells.sizes[region].sum():
                least, best = size, [one[~touched], other, one[touched]]
    return best


def _weights(
    cells: Cells, region: NDArray[np.intp], at: NDArray[np.float64], ends: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Shares of the region's variables by place along a side."""
    each = cells.sizes[region].astype(np.float64)
    weights = np.zeros(len(ends))
    np.add.at(weights, np.searchsorted(ends, at), each / each.sum())
    return weights


def _parts(cells: Cells, region: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Neighbours of a region together, about PART variables each."""
    across = int(np.argmax(np.ptp(cells.at[region], axis=0)))
    region = region[np.argsort(cells.at[region][:, across], kind="stable")]
    ends = np.cumsum(cells.sizes[region])
    return np.split(region, np.flatnonzero(np.diff((ends - 1) // PART)) + 1)
