"""All cells of a network with one or two inputs, layer by layer, as an anytime search.

The cells of k layers are convex polygons, some thousands for a network of a hundred neurons; each is split by the
lines of layer k + 1. On a cell of all layers the Jacobian is one matrix. A cell is dropped when its bound does not
exceed the attained slope. Deep cells come first, so that attained slopes do.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from ...deadline import Deadline
from ...domain import Domain, WholeSpace
from ...operators.norm import Norm
from ...problem import Details
from .anytime import Anytime
from .cells import Cells
from .emptiness import Proofs, box_rows
from .model import Model, in_blocks
from .polygon import NO_FACE, Polygons
from .polytope import THIN
from .rest import Rest
from .sides import scaled
from .splitting import Layers

MOST_INPUTS = 2
WIDEST = 32
"""Wider layers are taken in blocks, so that steps stay short."""
ENTRIES = 2**18
"""Cells times values, at most, that are handled together."""


PARTS = {
    (True, 2): [[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]],
    (True, 1): [[0, 1, 4, 3], [1, 2, 3, 4]],
    (False, 2): [[0, 1, 2, 3]],
    (False, 1): [[0, 1, 2, 3]],
}
"""The first polygons, by whether the domain is the whole space and the number of inputs: x >= ., y >= ., x <= ., y <= .
in that order, and 4 where a part is unbounded."""


@dataclass
class Counts:
    """What happened to the cells: `unproved` have larger bounds than could be attained in them."""

    cells: int = 0
    split: int = 0
    outbounded: int = 0
    exact: int = 0
    empty: int = 0
    unproved: int = 0


@dataclass
class Enumeration(Anytime):
    """The open cells by the number of their layers; time is over at `deadline`."""

    model: Model
    domain: Domain
    p: Norm
    deadline: Deadline
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        self.model = in_blocks(self.model, WIDEST)
        borders = _borders(self.domain, self.model.size)
        self._rest = Rest(self.model, self.p)
        self._layers = Layers(self.model, Proofs(self.model, borders), self.deadline)
        self._open: list[list[Cells]] = [[] for _ in self.model.layers]
        self._push(_root(self.domain, borders, self.model.size), 0)

    @property
    def remaining(self) -> float | None:
        """The largest bound among open cells."""
        return max((float(cells.bound[0]) for layer in self._open for cells in layer), default=None)

    def details(self) -> Details:
        """Counts for the report."""
        return {"open": sum(len(cells) for layer in self._open for cells in layer), **asdict(self.counts)}

    def step(self) -> None:
        """Split some of the deepest cells."""
        depth = max(k for k, layer in enumerate(self._open) if layer)
        cells = self._kept(self._open[depth].pop())
        if not len(cells):
            return
        cells_ = self._layers.split(cells, depth)
        self.counts.exact = self._layers.proved
        if cells_ is None:
            self._open[depth].append(cells)
            return
        self.counts.split += len(cells)
        self._push(cells_, depth + 1)

    def _push(self, cells: Cells, depth: int) -> None:
        """Bound new cells, and keep those that may raise the upper end, the most promising ones on top."""
        cells = replace(cells, bound=self._rest.bounds(cells, depth))
        if depth == len(self.model.layers):
            self.counts.cells += len(cells)
            self._settle(self._kept(cells))
            return
        kept = self._kept(cells)
        order = kept.bound.argsort(descending=True)
        size = max(1, ENTRIES // (1 + kept.values.shape[1] + self.model.layers[depth].pieces.kinks.numel()))
        self._open[depth] += [kept.take(part) for part in reversed(order.split(size)) if len(part)]

    def _kept(self, cells: Cells) -> Cells:
        """Those above the target; the others are settled."""
        kept = cells.bound > self.target
        self._close(cells.bound[~kept])
        self.counts.outbounded += int((~kept).sum())
        return cells if bool(kept.all()) else cells.take(kept)

    def _close(self, bounds: Tensor) -> None:
        if len(bounds):
            self.settled = max(self.settled, float(bounds.max()))

    def _settle(self, cells: Cells) -> None:
        """Try to attain the bounds of cells on which the network is affine, the largest first."""
        if not len(cells):
            return
        points, radii = cells.polygons.middles()
        for index in cells.bound.argsort(descending=True).tolist():
            bound, radius = float(cells.bound[index]), float(radii[index])
            if bound > self.target and np.isfinite(radius):
                self.incumbent.take(points[[index], : self.model.size], radii[[index]])
            if bound > self.target and not radius > THIN and self._layers.empty(cells, index):
                self.counts.empty += 1
                continue
            self.counts.unproved += bound > self.target
            self.settled = max(self.settled, bound)


def _borders(domain: Domain, size: int) -> np.ndarray:
    """Half-spaces `(B, n + 1)`: those of the domain's box, or those of the axes."""
    box = box_rows(domain, size)
    if len(box):
        return box
    axes = np.eye(size, size + 1)
    return np.concatenate([axes, -axes])


def _root(domain: Domain, borders: np.ndarray, size: int) -> Cells:
    """The domain's box, or the quadrants of the plane, as cells of no layer; strips of width 2 for one input."""
    # A strip of width 1 would be its own mirror image with the sum of its rows in the middle: every proof a tie.
    rows = torch.tensor([[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 2], [0, 0, 1]], dtype=torch.float64)
    names = torch.full((5,), NO_FACE)
    sides = torch.tensor([0, 2] if size == 1 else [0, 1, 2, 3])
    rows[sides[:, None], torch.tensor([*range(size), 2])] = torch.from_numpy(borders)
    names[sides] = torch.arange(1, len(borders) + 1)
    unbounded = isinstance(domain, WholeSpace)
    polygons = _polygons(rows, names, torch.tensor(PARTS[unbounded, size]))
    values = torch.eye(size, 3, dtype=torch.float64).expand(len(polygons), -1, -1)
    bound = torch.full((len(polygons),), torch.inf, dtype=torch.float64)
    return Cells(polygons, torch.zeros(len(polygons), 0, dtype=torch.long), values, torch.zeros_like(values), bound)


def _polygons(rows: Tensor, names: Tensor, parts: Tensor) -> Polygons:
    """Polygons with the rows of numbers `(P, V)`."""
    chosen, error = scaled(rows[parts], torch.zeros_like(rows[parts]))
    return Polygons(chosen, error, names[parts], torch.full((len(parts),), parts.shape[1]))
