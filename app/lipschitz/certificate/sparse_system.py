"""LipSDP's matrices V and C of a piece, sparse, over the input x and the free neurons z; transposed too.

The transposed network reads the output and gives the input: with W = [V; C] over (x, z), its matrix is W^T with the
blocks in their new places. Its constant from p to q is that of the network from q' to p', since all that is used of
the activations are their slopes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from app.lipschitz.certificate.balls import Array
from app.lipschitz.certificate.forms import Slopes
from app.lipschitz.certificate.sparse_maps import Map, map_of
from app.lipschitz.network.nodes import Activation, Affine, Concat, Node

Form = dict[Node, Map]
"""A linear function: the sum of the maps of their bases."""
Positions = NDArray[np.intp]


@dataclass(frozen=True)
class Off:
    """Rows and columns of W whose exact block lies within `error` of the stored one, in the 2-norm."""

    rows: slice
    columns: slice
    error: float


@dataclass(frozen=True, eq=False)
class SparseSystem:
    """W = [V; C], `(M + p, n + M)`, for n inputs, M neurons with their slopes and p outputs.

    `places` tells where in the maps of their nodes inputs, neurons and outputs lie: (node, position) of each.
    """

    inputs: int
    matrix: sp.csr_array
    lower: Array
    upper: Array
    off: tuple[Off, ...]
    places: tuple[tuple[Node, Positions], ...]

    @property
    def neurons(self) -> int:
        """M."""
        return len(self.lower)

    @property
    def outputs(self) -> int:
        """p."""
        return int(self.matrix.shape[0]) - self.neurons

    @property
    def transposed(self) -> SparseSystem:
        """The system of the network read backwards."""
        n, m, p = self.inputs, self.neurons, self.outputs
        turned = self.matrix.T.tocsr()
        first, last = np.arange(m), np.arange(n)
        rows = np.concatenate([n + first, last])
        columns = np.concatenate([m + np.arange(p), first])
        off = tuple(Off(_moved(one.columns, 0, n, m), _moved(one.rows, 0, m, p), one.error) for one in self.off)
        start, *neurons, end = self.places
        return SparseSystem(p, turned[rows][:, columns], self.lower, self.upper, off, (end, *neurons, start))


def _moved(place: slice, first: int, count: int, behind: int) -> slice:
    """Where a range lies once the `count` entries from `first` on change places with the `behind` after them."""
    shift = behind if place.start < first + count else -count
    return slice(place.start + shift, place.stop + shift)


def sparse_system(start: Node, end: Node, slopes: Mapping[Activation, Slopes]) -> SparseSystem:
    """The piece from `start` to `end`; `slopes` of all its activations, in topological order."""
    forms = _Forms(start, slopes)
    free = [(node, found.free) for node, found in slopes.items() if len(found.free)]
    widths = {start: start.size} | {node: len(positions) for node, positions in free}
    first = dict(zip(widths, np.cumsum([0, *widths.values()]).tolist(), strict=False))
    rows, off, top = [], [], 0
    for node, positions in [*((node.source, found) for node, found in free), (end, np.arange(end.size))]:
        form = {base: found.rows(positions) for base, found in forms.of(node).items()}
        blocks = [
            form[base].matrix if base in form else sp.csr_array((len(positions), width))
            for base, width in widths.items()
        ]
        rows.append(sp.hstack(blocks, format="csr"))
        place = slice(top, top + len(positions))
        off += [
            Off(place, slice(first[base], first[base] + widths[base]), found.error)
            for base, found in form.items()
            if found.error
        ]
        top = place.stop
    ends = [np.concatenate([np.zeros(0), *(getattr(slopes[n], e)[p] for n, p in free)]) for e in ("lower", "upper")]
    places = ((start, np.arange(start.size)), *free, (end, np.arange(end.size)))
    return SparseSystem(start.size, sp.vstack(rows, format="csr"), ends[0], ends[1], tuple(off), places)


@dataclass(frozen=True, eq=False)
class _Forms:
    """Every node of a piece as a linear function of the start and of the free neurons."""

    start: Node
    slopes: Mapping[Activation, Slopes]
    _known: dict[Node, Form] = field(default_factory=dict)

    def of(self, node: Node) -> Form:
        """The node's value, biases left out."""
        if node not in self._known:
            self._known[node] = self._found(node)
        return self._known[node]

    def _found(self, node: Node) -> Form:
        if node is self.start:
            return {node: _identity(node.size)}
        if isinstance(node, Affine):
            return _sum([self._after(map_of(term.operator), term.source) for term in node.terms])
        if isinstance(node, Concat):
            return self._concatenated(node)
        assert isinstance(node, Activation), type(node).__name__
        return self._activation(node)

    def _after(self, outer: Map, source: Node) -> Form:
        whole = source is self.start or (
            isinstance(source, Activation) and self.slopes[source].free.size == source.size
        )
        return {source: outer} if whole else {base: outer @ inner for base, inner in self.of(source).items()}

    def _concatenated(self, node: Concat) -> Form:
        forms, first = [], 0
        for term in node.terms:
            part = map_of(term.operator)
            count = part.matrix.shape[0]
            placed = _placed(np.arange(first, first + count), node.size)
            forms.append(self._after(Map((placed.matrix @ part.matrix).tocsr(), part.error), term.source))
            first += count
        return _sum(forms)

    def _activation(self, node: Activation) -> Form:
        """Free neurons are variables; the others count as linear, their slope known but for the width of its range."""
        slopes = self.slopes[node]
        own: Form = {node: _placed(slopes.free, node.size)} if len(slopes.free) else {}
        lower, upper = slopes.lower.copy(), slopes.upper.copy()
        lower[slopes.free] = upper[slopes.free] = 0.0
        if not (lower.any() or upper.any()):
            return own or {self.start: Map(sp.csr_array((node.size, self.start.size)))}
        return _sum([own, {base: found.times_range(lower, upper) for base, found in self.of(node.source).items()}])


def _identity(size: int) -> Map:
    return Map(sp.eye_array(size, format="csr"))


def _placed(positions: Positions, size: int) -> Map:
    """A short vector's entries at these positions of a long one."""
    count = len(positions)
    entries = (np.ones(count), (positions, np.arange(count)))
    return Map(sp.coo_array(entries, shape=(size, count)).tocsr())


def _sum(forms: list[Form]) -> Form:
    total: Form = {}
    for form in forms:
        for base, found in form.items():
            total[base] = total[base] + found if base in total else found
    return total
