"""Cells split by the kinks of one layer's neurons.

A kink's line splits a cell unless the cell is proved to lie on one side: in floating point (`sides`), or, where no
corner is clearly beyond the line, in exact arithmetic. What is left in doubt is kept on both sides, as polygons whose
rows all hold there. So every pattern that an open set of the domain takes is a cell's, whatever rounding did to the
corners.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...deadline import Deadline
from .cells import Cells, activated, preactivations
from .emptiness import Proofs, slack
from .model import Layer, Model, read_columns
from .node import Face
from .polygon import NO_FACE, Polygons, joined
from .sides import scaled, sides


@dataclass
class Layers:
    """Splits cells layer by layer; `proved` counts the proofs in exact arithmetic that were tried."""

    model: Model
    proofs: Proofs
    deadline: Deadline
    proved: int = 0

    def __post_init__(self) -> None:
        self._slack, columns = slack(self.model), read_columns(self.model)
        pairs = list(zip(self.model.layers, columns, strict=False))
        self._narrow = [replace(layer, weight=layer.weight[:, read]) for layer, read in pairs]
        self._stay = [_kept(read, layer, after) for (layer, read), after in zip(pairs, columns[1:], strict=True)]
        kinks = [layer.pieces.kinks.numel() for layer in self.model.layers]
        self._first = list(itertools.accumulate(kinks, initial=len(self.proofs.borders) + 1))

    def split(self, cells: Cells, depth: int) -> Cells | None:
        """The cells on which layer `depth` is affine as well; None where time ran out."""
        layer, stay = self._narrow[depth], self._stay[depth]
        maps, errors = preactivations(cells, layer, self._slack[depth])
        lines = maps[:, :, None].repeat(1, 1, layer.pieces.kinks.shape[1], 1)
        lines[:, :, :, -1] -= layer.pieces.kinks
        blurs = errors[:, :, None].expand_as(lines) + lines.abs() * 2.0**-52
        parts = Parts(cells, depth, *scaled(lines.flatten(1, 2), blurs.flatten(1, 2)))
        for line in range(lines.shape[1] * lines.shape[2]):
            if self.deadline.passed:
                return None
            self._decide(parts, line)
        signs = parts.signs.unflatten(1, lines.shape[1:3])
        pieces, origin = (signs > 0).sum(2), parts.origin
        values, wrong = activated(layer, pieces, maps[origin], errors[origin])
        return Cells(
            parts.polygons,
            torch.cat([cells.pieces[origin], pieces], 1),
            torch.cat([cells.values[:, stay.old][origin], values[:, stay.new]], 1),
            torch.cat([cells.errors[:, stay.old][origin], wrong[:, stay.new]], 1),
            cells.bound[origin],
        )

    def _decide(self, parts: Parts, line: int) -> None:
        """Give all parts a sign at one line."""
        neuron, kink = divmod(line, self.model.layers[parts.depth].pieces.kinks.shape[1])
        if kink:
            lower = parts.signs[:, line - 1] < 0
            parts.signs[lower, line] = -1
        open_ = torch.nonzero(parts.signs[:, line] == 0).squeeze(1)
        if not len(open_):
            return
        polygons, rows, error = parts.at(open_, line)
        sides_ = sides(polygons, rows[:, None], error[:, None])
        signs = sides_.signs.squeeze(1)
        ties = (signs == 0) & ~(sides_.reaches_above & sides_.reaches_below).squeeze(1)
        for tie in torch.nonzero(ties).flatten().tolist():
            self.proved += 1
            pieces = parts.cells.pieces[parts.origin[open_[tie]]].numpy()
            face = Face(parts.depth, neuron, kink, 1)
            signs[tie] = self._exact_sign(pieces, self._faces(polygons.faces[tie]), face)
        parts.signs[open_, line] = signs
        parts.divide(open_[signs == 0], line, self._first[parts.depth] + line)

    def _exact_sign(self, pieces: np.ndarray, faces: list[Face | int], face: Face) -> int:
        """1 or -1 where the cell is proved to lie above or below a face, 0 where it is not."""
        constant = self.proofs.constant(pieces, face)
        if constant is not None:
            return 1 if constant > 0 else -1
        for sign in (1, -1):
            other = Face(face.layer, face.neuron, face.kink, -sign)
            if self.proofs.empty(pieces, [*faces, other], _with_last(len(faces))):
                return sign
        return 0

    def empty(self, cells: Cells, index: int) -> bool:
        """Whether a cell is proved to have no room inside."""
        self.proved += 1
        faces = self._faces(cells.polygons.faces[index])
        supports = itertools.chain(*(itertools.combinations(range(len(faces)), size) for size in (2, 3)))
        return self.proofs.empty(cells.pieces[index].numpy(), faces, supports)

    def _faces(self, names: Tensor) -> list[Face | int]:
        """Neurons' faces and borders' numbers by their names in polygons."""
        return [self._face(name) for name in names.tolist() if name != NO_FACE]

    def _face(self, name: int) -> Face | int:
        number = abs(name)
        if number <= len(self.proofs.borders):
            return number - 1
        layer = next(k for k, after in enumerate(self._first[1:]) if number < after)
        neuron, kink = divmod(number - self._first[layer], self.model.layers[layer].pieces.kinks.shape[1])
        return Face(layer, neuron, kink, 1 if name > 0 else -1)


def _with_last(count: int) -> Iterator[tuple[int, ...]]:
    """Sets of one or two of `count` faces, with the one after them."""
    for size in (1, 2):
        for chosen in itertools.combinations(range(count), size):
            yield (*chosen, count)


class Stay(NamedTuple):
    """The places among the values before a layer, and among its own, that later layers read."""

    old: Tensor
    new: Tensor


def _kept(before: Tensor, layer: Layer, after: Tensor) -> Stay:
    start = layer.weight.shape[1]
    return Stay(torch.nonzero(torch.isin(before, after)).flatten(), after[after >= start] - start)


class Parts:
    """The pieces that one layer's lines `(P, R, 3)` have cut cells into so far.

    `origin`, `(Q,)`, is each part's cell; `signs`, `(Q, R)`, the side of every line, 0 where undecided.
    """

    def __init__(self, cells: Cells, depth: int, lines: Tensor, error: Tensor) -> None:
        self.cells, self.depth = cells, depth
        self._lines, self._error = lines, error
        self.polygons, self.origin = cells.polygons, torch.arange(len(cells))
        self.signs = sides(cells.polygons, lines, error).signs

    def at(self, index: Tensor, line: int) -> tuple[Polygons, Tensor, Tensor]:
        """Some parts with their rows of one line, `(q, 3)`, and the rows' errors."""
        origin = self.origin[index]
        return self.polygons.take(index), self._lines[origin, line], self._error[origin, line]

    def divide(self, index: Tensor, line: int, face: int) -> None:
        """Replace parts by their halves on the two sides of a line."""
        if not len(index):
            return
        polygons, rows, error = self.at(index, line)
        inside = _inside(polygons, rows)
        names = torch.full_like(index, face)
        above = polygons.cut(rows, error, names, inside)
        below = polygons.cut(-rows, error, -names, ~inside & polygons.ring.taken)
        stay = torch.ones(len(self.origin), dtype=torch.bool)
        stay[index] = False
        self.polygons = joined([self.polygons.take(stay), above, below])
        halves = []
        for sign in (1, -1):
            halves.append(self.signs[index])
            halves[-1][:, line] = sign
        self.signs = torch.cat([self.signs[stay], *halves])
        self.origin = torch.cat([self.origin[stay], self.origin[index], self.origin[index]])


def _inside(polygons: Polygons, rows: Tensor) -> Tensor:
    """The corners above lines `(P, 3)`: at least one, and not all."""
    values = (polygons.corners @ rows[:, :, None]).squeeze(2)
    size = polygons.corners.abs().amax(2)
    heights = torch.where(polygons.ring.taken, values / torch.where(size > 0, size, 1.0), torch.nan)
    lowest, highest = (torch.where(heights.isnan(), end, heights) for end in (torch.inf, -torch.inf))
    inside = polygons.ring.taken & (values > 0)
    every = torch.arange(len(rows))
    inside[every, lowest.argmin(1)] = False
    inside[every, highest.argmax(1)] = True
    return inside
