"""How much the layers that a cell leaves open can still stretch: magnitudes that are found once and serve all cells."""

from __future__ import annotations

import torch
from torch import Tensor

from ...operators.norm import Norm
from ...operators.rounding import gamma
from .bounds import norms, simple_norms
from .cells import UP, Cells
from .model import Model, read_columns


class Rest:
    """Bounds of ||J||_p once some layers are fixed: |J| <= M |d values|, entry by entry."""

    def __init__(self, model: Model, p: Norm) -> None:
        self._size, self._outputs, self._p = model.size, model.layers[-1].size, p
        columns = read_columns(model)
        self._magnitudes = [m[:, read] for m, read in zip(_magnitudes(model), columns, strict=False)]

    def bounds(self, cells: Cells, depth: int) -> Tensor:
        """Of cells with `depth` layers fixed, `(P,)`; sharp when these are all layers."""
        maps, errors = cells.values[:, :, : self._size], cells.errors[:, :, : self._size]
        if depth == len(self._magnitudes):
            own = slice(-self._outputs, None)
            bounds = (norms(maps[:, own], self._p) + simple_norms(errors[:, own], self._p) * UP) * UP
        else:
            bounds = norms((self._magnitudes[depth] @ (maps.abs() + errors)) * UP, self._p)
        return torch.minimum(torch.nan_to_num(bounds, nan=torch.inf, posinf=torch.inf), cells.bound)


def _magnitudes(model: Model) -> list[Tensor]:
    """For every number of fixed layers, the largest |derivative| of the output by all values so far, `(o, w)`."""
    last = model.layers[-1]
    magnitudes, weights = [], torch.eye(last.size, dtype=torch.float64)
    weights = torch.cat([torch.zeros(last.size, last.weight.shape[1], dtype=torch.float64), weights], 1)
    for layer in reversed(model.layers):
        start = layer.weight.shape[1]
        steep = weights[:, start:] * layer.pieces.slopes.abs().amax(1)
        weights = (weights[:, :start] + steep @ layer.weight.abs()) * (1.0 + 2.0 * gamma(layer.size + 4))
        magnitudes.append(weights)
    return magnitudes[::-1]
