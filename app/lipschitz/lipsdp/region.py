"""The system of a region of the network: from one node to another, affine maps and activations only.

A neuron whose slope is one number is no neuron: its linear map is folded into what reads it. An input wider than
what reads it is turned into as many coordinates by a QR factorisation; the distance to an exact rotation, which
changes no norm, counts as an error of the maps. Variables are scaled by powers of two near their AutoLip constants.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import MethodSkipped
from ..network.nodes import Activation, Node
from ..operators.base import LinearOperator
from ..operators.materialise import matrix_with_error, moderate
from ..operators.rounding import gamma, up_add
from .linear import LinearForms
from .system import Block, System

FIXED_WIDTH = 2.0**-36
"""Slopes closer together than this, relative, count as one number that is off by their distance."""

LINEAR_WIDTH = 2.0**-20
"""The same where it makes the whole region linear: beside free neurons, multipliers would magnify so large an error."""

LEAST_WIDTH = 2.0**-10
"""Other slopes closer together than this, relative, are widened: it costs little and keeps multipliers moderate."""


MODERATE_SHIFT = 400
"""Largest exponent of a scale between two layers: no power of two overflows, and no entry that matters vanishes."""


@dataclass(frozen=True, eq=False)
class Slopes:
    """The slopes of an activation's free neurons, `(k,)` each, and where they are, `(k,)`."""

    lower: Tensor
    upper: Tensor
    free: Tensor


@dataclass(frozen=True, eq=False)
class Region:
    """A system with what its parts stand for. rho of the system times 4^`exponent` bounds the squared constant."""

    system: System
    activations: tuple[Activation, ...]
    layers: tuple[slice, ...]
    scales: tuple[float, ...]
    exponent: int


def region_of(
    start: Node,
    end: Node,
    nodes: Sequence[Node],
    slopes: Mapping[Activation, tuple[Tensor, Tensor]],
    constants: Mapping[Node, float],
    *,
    by_layer: bool,
    narrow: bool = True,
) -> Region | LinearOperator:
    """The region's system, or its one linear map where every neuron's slope is known.

    `nodes` lie between, `slopes` are `(n,)` each, `constants` AutoLip's from the start on. `narrow` has a wide input
    turned into fewer coordinates.
    """
    activations = [node for node in nodes if isinstance(node, Activation)]
    wide = any(bool(varying(*slopes[node], LINEAR_WIDTH).any()) for node in activations)
    free = {node: _widened(*slopes[node], FIXED_WIDTH if wide else LINEAR_WIDTH) for node in activations}
    forms = LinearForms(start, {node: (bounds.free, *slopes[node]) for node, bounds in free.items()})
    kept = [node for node in free if len(free[node].free)]
    if not kept:
        return forms.of(end)[start]
    matrices = [_matrices(forms.rows(node.source, free[node].free)) for node in kept] + [_matrices(forms.of(end))]
    width = _narrowed(matrices, start, narrow=narrow)
    exponents = {node: _exponent(constants[node]) for node in (*kept, end)} | {start: 0}
    variables = _Variables(start, width, _places(kept, free), exponents)
    output, error = variables.output(matrices[-1], end)
    system = System(
        width,
        tuple(block for node, form in zip(kept, matrices, strict=False) for block in variables.blocks(node, form)),
        output,
        _joined([free[node].lower for node in kept]),
        _joined([free[node].upper for node in kept]),
        _groups(variables.places) if by_layer else None,
        error,
    )
    layers = tuple(variables.places[node] for node in kept)
    return Region(system, tuple(kept), layers, tuple(2.0 ** exponents[node] for node in kept), exponents[end])


def varying(lower: Tensor, upper: Tensor, width: float = FIXED_WIDTH) -> Tensor:
    """Which slopes, `(n,)`, are further apart than `width`, relative to the larger."""
    return upper - lower > width * torch.maximum(lower.abs(), upper.abs())


def slopes_of_free(lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The slopes `(n,)`, a little wider where they all but agree, and the positions of those that vary."""
    bounds = _widened(lower, upper, FIXED_WIDTH)
    return lower.index_copy(0, bounds.free, bounds.lower), upper.index_copy(0, bounds.free, bounds.upper), bounds.free


def _widened(lower: Tensor, upper: Tensor, width: float) -> Slopes:
    free = torch.nonzero(varying(lower, upper, width))[:, 0]
    low, high = lower[free], upper[free]
    short = (LEAST_WIDTH * torch.maximum(low.abs(), high.abs()) - (high - low)).clamp(min=0.0)
    return Slopes(low - short, high + short, free)


def _places(kept: Sequence[Node], free: Mapping[Activation, Slopes]) -> dict[Node, slice]:
    places: dict[Node, slice] = {}
    row = 0
    for node in kept:
        count = len(free[node].free)  # type: ignore[index]
        places[node] = slice(row, row + count)
        row += count
    return places


def _exponent(constant: float) -> int:
    return math.frexp(constant)[1] if constant > 0.0 else 0


Matrix = tuple[Tensor, float]
"""A matrix and how far it is from the exact map, in the 2-norm."""


def _matrices(form: Mapping[Node, LinearOperator]) -> dict[Node, Matrix]:
    forms_ = {}
    for base, operator in form.items():
        if not moderate(operator):
            raise MethodSkipped("the entries of an affine map span too many decades for a semidefinite bound")
        matrix, lost = matrix_with_error(operator)
        forms_[base] = (matrix, up_add(lost, operator.error))
    return forms_


def _narrowed(forms: Sequence[dict[Node, Matrix]], start: Node, *, narrow: bool) -> int:
    """The width of the input, which is turned into fewer coordinates in place where it is to be `narrow`."""
    reading = [form for form in forms if start in form]
    inputs = [form[start] for form in reading]
    for form, matrix in zip(reading, _reduced(inputs) if narrow else inputs, strict=True):
        form[start] = matrix
    return reading[0][start][0].shape[1] if reading else 1


def _reduced(parts: list[Matrix]) -> list[Matrix]:
    """The maps from the input after a rotation, where that makes them narrower."""
    count = sum(len(matrix) for matrix, _ in parts)
    if not parts or parts[0][0].shape[1] <= count:
        return parts
    stacked = torch.cat([matrix for matrix, _ in parts])
    q, r = torch.linalg.qr(stacked.T)
    lower = r.T.contiguous()
    lost = _qr_error(stacked, lower, q)
    pieces = lower.split([len(matrix) for matrix, _ in parts])
    return [(piece, up_add(error, lost)) for piece, (_, error) in zip(pieces, parts, strict=True)]


def _qr_error(stacked: Tensor, lower: Tensor, q: Tensor) -> float:
    """||Y - L Q'|| <= this for some Q' with orthonormal rows, L and Q^T being the computed factors of Y.

    With ||Q^T Q - I|| <= h < 1 the polar factor of Q lies within h, so the distance is at most the residual
    plus ||L|| h; both are computed, with the rounding of the two products added.
    """
    size, rank = q.shape
    residual = torch.linalg.matrix_norm(stacked - lower @ q.T)
    defect = torch.linalg.matrix_norm(q.T @ q - torch.eye(rank, dtype=q.dtype, device=q.device))
    whole, frame = torch.linalg.matrix_norm(lower), torch.linalg.matrix_norm(q)
    residual = residual + 2.0 * gamma(rank + 2) * (whole * frame + torch.linalg.matrix_norm(stacked))
    defect = defect + 2.0 * gamma(size + 2) * frame.square()
    return math.inf if float(defect) >= 0.5 else 1.001 * float(residual + whole * defect)


@dataclass(frozen=True, eq=False)
class _Variables:
    """xi: `width` inputs, then each activation's free neurons at `places` behind them; 2^`exponents` are the scales."""

    start: Node
    width: int
    places: Mapping[Node, slice]
    exponents: Mapping[Node, int]

    def blocks(self, node: Node, form: Mapping[Node, Matrix]) -> list[Block]:
        """What the neurons of an activation read."""
        row = self.places[node].start
        return [Block(row, self._column(base), *self._scaled(matrix, base, node)) for base, matrix in form.items()]

    def output(self, form: Mapping[Node, Matrix], end: Node) -> Matrix:
        """C over all variables, and its error."""
        total = self.width + sum(place.stop - place.start for place in self.places.values())
        rows = next(iter(form.values()))[0]
        output, error = rows.new_zeros(len(rows), total), 0.0
        for base, entry in form.items():
            matrix, lost = self._scaled(entry, base, end)
            first = self._column(base)
            output[:, first : first + matrix.shape[1]] = matrix
            error = up_add(error, lost)
        return output, error

    def _column(self, base: Node) -> int:
        return 0 if base is self.start else self.width + self.places[base].start

    def _scaled(self, entry: Matrix, base: Node, node: Node) -> Matrix:
        shift = self.exponents[base] - self.exponents[node]
        if abs(shift) > MODERATE_SHIFT:
            raise MethodSkipped("the layers' scales lie too many decades apart for a semidefinite bound")
        matrix, error = entry
        return matrix * 2.0**shift, error * 2.0**shift


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(parts))[None]


def _groups(places: Mapping[Node, slice]) -> Tensor:
    return torch.cat([torch.full((place.stop - place.start,), i) for i, place in enumerate(places.values())])
