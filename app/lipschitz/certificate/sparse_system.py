"""LipSDP's matrices V and C of a piece, sparse, over the input x and the free neurons z; transposed too.

The transposed network reads the output and gives the input: with W = [V; C] over (x, z), its matrix is W^T with the
blocks in their new places. Its constant from p to q is that of the network from q' to p', since all that is used of
the activations are their slopes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.sparse as sp

from ..deadline import NEVER, Deadline
from ..network.nodes import Activation, Node
from ..operators.base import LinearOperator
from ..operators.composite import work
from .balls import Array
from .forms import Forms, Positions, Slopes
from .sparse_maps import Map, map_of, product_work

FULL = 0.25
"""Share of entries that are not zero from which a matrix is multiplied as a dense one."""

ENTRY_WORK = 1000.0
"""Multiplications of large matrices that an entry of a sparse one, put together or multiplied, is worth."""


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
        """The number of free neurons, M."""
        return len(self.lower)

    @property
    def outputs(self) -> int:
        """The number of outputs, p."""
        return int(self.matrix.shape[0]) - self.neurons

    @property
    def layers(self) -> list[slice]:
        """The rows of V by activation."""
        ends = np.cumsum([0, *(len(positions) for _, positions in self.places[1:-1])]).tolist()
        return [slice(*pair) for pair in pairwise(ends)]

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


def sparse_system(
    start: Node, end: Node, slopes: Mapping[Activation, Slopes], deadline: Deadline = NEVER
) -> SparseSystem:
    """The piece from `start` to `end`; `slopes` of all its activations, in topological order.

    TooLarge where it does not fit into memory, OutOfTime where it does not fit the time.
    """
    forms = SparseForms(start, slopes, deadline=deadline)
    free = [(node, bounds.free) for node, bounds in slopes.items() if len(bounds.free)]
    widths = {start: start.size} | {node: len(positions) for node, positions in free}
    first = dict(zip(widths, np.cumsum([0, *widths.values()]).tolist(), strict=False))
    rows, off, top = [], [], 0
    for node, positions in [*((node.source, bounds) for node, bounds in free), (end, np.arange(end.size))]:
        form = {b: (forms.identity(node.size) if m is None else m).rows(positions) for b, m in forms.of(node).items()}
        blocks = [
            form[base].matrix if base in form else sp.csr_array((len(positions), width))
            for base, width in widths.items()
        ]
        rows.append(sp.hstack(blocks, format="csr"))
        place = slice(top, top + len(positions))
        off += [
            Off(place, slice(first[base], first[base] + widths[base]), bounds.error)
            for base, bounds in form.items()
            if bounds.error
        ]
        top = place.stop
    ends = [np.concatenate([np.zeros(0), *(getattr(slopes[n], e)[p] for n, p in free)]) for e in ("lower", "upper")]
    places = ((start, np.arange(start.size)), *free, (end, np.arange(end.size)))
    return SparseSystem(start.size, sp.vstack(rows, format="csr"), ends[0], ends[1], tuple(off), places)


@dataclass(frozen=True, eq=False)
class SparseForms(Forms[Map]):
    """In sparse matrices; OutOfTime where the next one would be there after the deadline."""

    deadline: Deadline = NEVER

    def matrix(self, operator: LinearOperator) -> Map:
        """Its entries that are not zero."""
        self.deadline.begin(ENTRY_WORK * work(operator))
        return map_of(operator)

    def _after(self, outer: Map, source: Node) -> dict[Node, Map]:
        for inner in self.of(source).values():
            if inner is not None:
                self.deadline.begin(ENTRY_WORK * product_work(outer.matrix, inner.matrix))
        return super()._after(outer, source)

    def identity(self, size: int) -> Map:
        return Map(sp.eye_array(size, format="csr"))

    def placed(self, positions: Positions, size: int) -> Map:
        """Columns of the unit matrix."""
        count = len(positions)
        entries = (np.ones(count), (positions, np.arange(count)))
        return Map(sp.coo_array(entries, shape=(size, count)).tocsr())

    def padded(self, part: Map, first: int, size: int) -> Map:
        """Rows of zeros around."""
        rows = self.placed(np.arange(first, first + part.matrix.shape[0]), size).matrix
        return Map((rows @ part.matrix).tocsr(), part.error)

    def times_range(self, inner: Map, lower: Array, upper: Array) -> Map:
        """The middle of the range, and half its width as error."""
        return inner.times_range(lower, upper)


def gram(rows: sp.csr_array, weight: Array, layers: Sequence[slice]) -> sp.csr_array:
    """R^T diag(weight) R, layer after layer: 13 s in sparse arithmetic for 6,000 neurons that read 784 inputs."""
    total = sp.csr_array((rows.shape[1], rows.shape[1]))
    for layer in layers:
        part, own = rows[layer], weight[layer]
        if not own.any():
            continue
        columns = np.unique(part.indices)
        if part.nnz > FULL * part.shape[0] * len(columns):
            block = part[:, columns].toarray()
            total = total + _spread((block.T * own) @ block, columns, rows.shape[1])
        else:
            total = total + part.T @ (sp.diags_array(own) @ part)
    return total.tocsr()


def between(left: Array, matrix: sp.csr_array, right: Array) -> sp.csr_array:
    """diag(left) times the matrix times diag(right), two roundings an entry at most."""
    entries = matrix.data * np.repeat(left, np.diff(matrix.indptr)) * right[matrix.indices]
    return sp.csr_array((entries, matrix.indices, matrix.indptr), shape=matrix.shape)


def _spread(block: Array, positions: Positions, size: int) -> sp.csr_array:
    """A square block at these positions, in ascending order, of rows and columns."""
    counts = np.zeros(size, dtype=np.intp)
    counts[positions] = len(positions)
    ends = np.concatenate([[0], np.cumsum(counts)])
    return sp.csr_array((block.ravel(), np.tile(positions, len(positions)), ends), shape=(size, size))
