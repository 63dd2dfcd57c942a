"""The semidefinite bound of a pair over boxes of slopes [F19], with the multipliers that prove it.

With s = l + (u - l) z the pair is A diag(l) B x + A diag(u - l) z, where z_j is (B x)_j times a slope between 0 and 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ...lipsdp.dense.interior import NotPositive, minimise
from ...lipsdp.proof import proved
from ...lipsdp.start import closed_form
from ...lipsdp.system import Block, System
from ...operators.rounding import UNIT
from ...operators.scaling import raised
from .pair import Pair

_ENTRIES = 2**24
"""Entries of the matrices of one batch of semidefinite problems."""
_WORK = 400.0
"""Multiplications of one semidefinite problem, about, over the cube of its size."""


def semidefinite_work(pair: Pair) -> float:
    """Multiplications of one semidefinite bound, roughly."""
    return _WORK * (0.5 * sum(pair.narrow().inner.shape)) ** 3


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes of slopes: `lower` and `upper` are `(b, n)`, `bounds` `(b,)` certified.

    `multipliers` `(b, n)` prove the bounds, about: those m > 0 of `certificate.faces`.
    """

    lower: Tensor
    upper: Tensor
    bounds: Tensor
    multipliers: Tensor

    def __getitem__(self, chosen: slice | Tensor) -> Boxes:
        """Some of them, in the order of the positions."""
        return Boxes(self.lower[chosen], self.upper[chosen], self.bounds[chosen], self.multipliers[chosen])

    def above(self, level: float) -> Boxes:
        """Those that may hold more than `level`, largest bound first."""
        order = torch.argsort(self.bounds, descending=True)
        return self[order[self.bounds[order] > level]]

    def joined(self, other: Boxes) -> Boxes:
        mine, others = ((boxes.lower, boxes.upper, boxes.bounds, boxes.multipliers) for boxes in (self, other))
        return Boxes(*(torch.cat(two) for two in zip(mine, others, strict=True)))


@dataclass(frozen=True, eq=False)
class BoxBounds:
    """Bounds of boxes within the pair's own, to a relative `gap` of the optimum; infinite where nothing is proved."""

    pair: Pair
    gap: float

    def __call__(self, lower: Tensor, upper: Tensor) -> Tensor:
        """Certified bounds of boxes `(b, n)`: `(b,)`."""
        return self.boxes(lower, upper).bounds

    @cached_property
    def whole(self) -> Boxes:
        """The pair's own box."""
        return self.boxes(self.pair.lower[None], self.pair.upper[None])

    def boxes(self, lower: Tensor, upper: Tensor) -> Boxes:
        """The same with all that goes with them."""
        size = max(1, _ENTRIES // sum(self.pair.narrow().inner.shape) ** 2)
        first, *others = (self._boxes(*ends) for ends in zip(lower.split(size), upper.split(size), strict=True))
        for other in others:
            first = first.joined(other)
        return first

    def _boxes(self, lower: Tensor, upper: Tensor) -> Boxes:
        pair = self.pair.narrow()
        exponents = _exponent(pair.outer), _exponent(pair.inner)
        system = _system(pair, exponents, lower, upper)
        try:
            start = closed_form(system, [slice(0, system.neurons)])
            iterate = minimise(system, *start, gap=self.gap)
        except NotPositive:
            return Boxes(lower, upper, torch.full_like(lower[:, 0], torch.inf), torch.ones_like(lower))
        rho, t = proved(system, iterate.rho, iterate.t, start)
        bounds = raised(rho.sqrt() * (1.0 + 4.0 * UNIT), sum(exponents))
        width = upper - lower
        m = t / (rho.sqrt()[:, None] * torch.where(width > 0.0, width, 1.0)) * 2.0 ** (exponents[0] - exponents[1])
        multipliers = self.pair.multipliers(m if pair is self.pair else 1.0 / m, width)
        return Boxes(lower, upper, bounds, multipliers)


def semidefinite_bounds(pair: Pair, gap: float) -> BoxBounds:
    """The two-layer LipSDP of every box."""
    return BoxBounds(pair, gap)


def _exponent(matrix: Tensor) -> int:
    """The power of two next to the matrix's size."""
    return math.frexp(float(torch.linalg.matrix_norm(matrix)) or 1.0)[1]


def _system(pair: Pair, exponents: tuple[int, int], lower: Tensor, upper: Tensor) -> System:
    """The constraint of every box, both matrices scaled; slopes that are fixed leave zero rows and columns."""
    scaled = replace(pair, outer=pair.outer * 2.0 ** -exponents[0], inner=pair.inner * 2.0 ** -exponents[1])
    width = upper - lower
    last = scaled.outer * width[:, None]
    output = torch.cat([scaled.matrices(lower), last], 2)
    block = Block(0, 0, torch.where(width[:, :, None] > 0.0, scaled.inner, 0.0))
    error = scaled.rounding + 4.0 * UNIT * float(torch.linalg.matrix_norm(last).max())
    ends = torch.zeros_like(lower), torch.ones_like(lower)
    return System(pair.inner.shape[1], (block,), output, *ends, output_error=error)
