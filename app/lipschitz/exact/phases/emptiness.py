"""Proofs, in exact arithmetic, that a polytope of the search has no room inside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from ...domain import Domain, WholeSpace
from ...errors import MethodSkipped
from ...network.propagation import of_domain
from ...operators.rounding import TINY
from .integers import ExactModel, Integers, conflict, whole
from .model import Model
from .node import Face


class Proofs:
    """Knows the exact rows of borders, `(B, n + 1)`, and of every face."""

    def __init__(self, model: Model, borders: np.ndarray) -> None:
        self._exact = ExactModel(model)
        self._slack = slack(model)
        self.borders = borders
        self._borders = [whole(torch.from_numpy(row)) for row in borders]
        self.ends = model.ends

    def phases(self, pieces: np.ndarray) -> list[np.ndarray]:
        """Pieces `(N,)` layer by layer."""
        return [pieces[a:b] for a, b in zip(self.ends[:-1], self.ends[1:], strict=True)]

    def constant(self, pieces: np.ndarray, face: Face) -> Integers | None:
        """a - kink, up to a positive factor, where it has a sign and does not depend on x; else None."""
        row, extra = self._row(self.phases(pieces), replace(face, sign=1))
        return None if any(row[:-1]) or 0 < abs(row[-1]) <= extra else row[-1]

    def empty(self, pieces: np.ndarray, faces: Sequence[Face | int], supports: Iterable[Sequence[int]]) -> bool:
        """Whether one of the sets of `faces` is proved to leave no room."""
        return self.conflict(pieces, faces, supports) is not None

    def conflict(
        self, pieces: np.ndarray, faces: Sequence[Face | int], supports: Iterable[Sequence[int]]
    ) -> list[Face | int] | None:
        """The first of the sets of `faces` that is proved to leave no room; integers are the numbers of borders.

        `pieces`, `(N,)`, are those of all layers before the faces'.
        """
        phases = self.phases(pieces)
        sets = ([faces[index] for index in rows] for rows in supports)
        return next((chosen for chosen in sets if self._conflict(phases, chosen)), None)

    def _conflict(self, phases: list[np.ndarray], faces: Sequence[Face | int]) -> bool:
        rows = [self._row(phases, face) for face in faces]
        return conflict(np.stack([row for row, _ in rows]), [extra for _, extra in rows])

    def _row(self, phases: list[np.ndarray], face: Face | int) -> tuple[Integers, Fraction]:
        """One row as integers, and what inexact biases may add to its constant."""
        if isinstance(face, int):
            return self._borders[face], Fraction(0)
        row, exponent = self._exact.row(phases, face.layer, face.neuron, face.kink)
        extra = float(self._slack[face.layer][face.neuron])
        return face.sign * row, Fraction(extra) * 2**exponent


def box_rows(domain: Domain, size: int) -> np.ndarray:
    """`rows (x, 1) >= 0` for a box around the domain, `(2 n, n + 1)`; none for the whole space."""
    if isinstance(domain, WholeSpace):
        return np.zeros((0, size + 1))
    interval = of_domain(domain, size)
    eye = torch.eye(size, dtype=torch.float64)
    lower = torch.cat([eye, -interval.lower[:, None].cpu()], 1)
    upper = torch.cat([-eye, interval.upper[:, None].cpu()], 1)
    return torch.cat([lower, upper]).numpy()


def slack(model: Model) -> list[Tensor]:
    """How far computed biases may move each pre-activation, layer by layer; zero where all biases are stored ones."""
    moved, slacks = torch.zeros(model.size, dtype=torch.float64), []
    for layer in model.layers:
        underflow = TINY * layer.weight.shape[1] if bool(moved.any()) else 0.0
        slacks.append((layer.weight.abs() @ moved + layer.bias_radius + underflow) * (1.0 + 2.0**-30))
        moved = torch.cat([moved, layer.pieces.slopes.abs().amax(1) * slacks[-1]])
    if not all(bool(torch.isfinite(one).all()) for one in slacks):
        raise MethodSkipped("biases computed in floating point are off by more than float64 holds")
    return slacks
