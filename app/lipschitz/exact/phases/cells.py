"""Cells of the plane on which the first layers are affine, with those layers' maps and their rounding errors.

A network with one input gets a second one that nothing reads, so that its cells are strips.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ...operators.rounding import UNIT, gamma
from .model import Layer
from .polygon import Polygons

UNDERFLOW = 1e-290
"""More than products below the normal numbers can lose in one sum."""
UP = 1.0 + 2.0**-30
"""Rounds bounds of errors up."""


@dataclass(frozen=True, eq=False)
class Cells:
    """P polygons with the pieces `(P, N)` of the neurons decided so far.

    The values that later layers read are `values (x, 1)`, `(P, w, 3)`, to within `errors`, entry by entry; `bound`,
    `(P,)`, is a certified upper bound of ||J|| on the cell.
    """

    polygons: Polygons
    pieces: Tensor
    values: Tensor
    errors: Tensor
    bound: Tensor

    def __len__(self) -> int:
        return len(self.bound)

    def take(self, index: Tensor) -> Cells:
        """Some of the cells, by numbers or flags."""
        return Cells(
            self.polygons.take(index), self.pieces[index], self.values[index], self.errors[index], self.bound[index]
        )


def preactivations(cells: Cells, layer: Layer, slack: Tensor) -> tuple[Tensor, Tensor]:
    """Maps `(P, n, 3)` of a layer `(n, w)` and their errors; `slack`, `(n,)`, is what inexact biases may add."""
    weight, magnitudes = layer.weight, layer.weight.abs()
    values, size = weight @ cells.values, magnitudes @ cells.values.abs()
    values[:, :, -1] += layer.bias
    size[:, :, -1] += layer.bias.abs()
    errors = (magnitudes @ cells.errors + 2.0 * gamma(weight.shape[1] + 2) * size) * UP + UNDERFLOW
    errors[:, :, -1] += slack
    return values, errors


def activated(layer: Layer, pieces: Tensor, maps: Tensor, errors: Tensor) -> tuple[Tensor, Tensor]:
    """The layer's values from its pre-activations for pieces `(P, n)`, and their errors."""
    tables = layer.pieces.slopes, layer.pieces.intercepts
    slope, intercept = (table.expand(len(pieces), -1, -1).gather(2, pieces[:, :, None]) for table in tables)
    values = slope * maps
    size = values.abs()
    values[:, :, -1:] += intercept
    size[:, :, -1:] += intercept.abs()
    return values, (slope.abs() * errors + 4.0 * UNIT * size) * UP + UNDERFLOW
