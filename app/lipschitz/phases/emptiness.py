"""Proofs, in exact arithmetic, that a polytope of the search has no room inside."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from app.lipschitz.domain import Domain, WholeSpace
from app.lipschitz.network.ends import MARGIN
from app.lipschitz.network.intervals import of_domain
from app.lipschitz.phases.integers import ExactModel, Integers, conflict, whole
from app.lipschitz.phases.model import Model
from app.lipschitz.phases.node import Face, Node


class Proofs:
    """Knows the exact rows of the domain's box and of every face."""

    def __init__(self, model: Model, domain: Domain) -> None:
        self._model = model
        self._exact = ExactModel(model)
        self._slack = slack(model)
        self.box = box_rows(domain, model.size)
        self._box = [whole(torch.from_numpy(row)) for row in self.box]
        self.ends = model.ends

    def phases(self, pieces: np.ndarray) -> list[np.ndarray]:
        """Pieces `(N,)` layer by layer."""
        return [pieces[a:b] for a, b in zip(self.ends[:-1], self.ends[1:], strict=True)]

    def constant(self, node: Node, face: Face) -> Integers | None:
        """a - kink, up to a positive factor, where the pre-activation does not depend on x in the node; else None."""
        row, _ = self._exact.row(self.phases(node.lowest), face.layer, face.neuron, face.kink)
        return None if any(row[:-1]) else row[-1]

    def empty(self, node: Node, supports: Sequence[Sequence[int]]) -> bool:
        """Whether one of the sets of rows is proved to leave no room."""
        phases = self.phases(node.lowest)
        return any(self._conflict(node, phases, rows) for rows in supports)

    def _conflict(self, node: Node, phases: list[np.ndarray], rows: Sequence[int]) -> bool:
        found = [self._row(node, phases, index) for index in rows]
        return conflict(np.stack([row for row, _ in found]), [extra for _, extra in found])

    def _row(self, node: Node, phases: list[np.ndarray], index: int) -> tuple[Integers, Fraction]:
        """One row as integers, and what inexact biases may add to its constant."""
        if index < len(self._box):
            return self._box[index], Fraction(0)
        face = node.faces[index - len(self._box)]
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
    moved, found = torch.zeros(model.size, dtype=torch.float64), []
    for layer in model.layers:
        own = 0.0 if model.exact_biases else MARGIN * float(layer.bias.abs().max())
        found.append((layer.weight.abs() @ moved + own) * (1.0 + 2.0**-30))
        moved = torch.cat([moved, layer.pieces.slopes.abs().amax(1) * found[-1]])
    return found
