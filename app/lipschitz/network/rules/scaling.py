"""Vectors divided by their own size, over groups of entries: RMS norm and division by the 2-norm.

Both have symmetric Jacobians between 0 and I / s, s the divisor; their rows are bounded in `normalization`. Division by
max(|x|, floor) projects x / floor onto the unit ball, so 1 / floor holds everywhere.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from ...operators.rounding import gamma
from ..ends import MARGIN, Ends, magnitude, widened
from ..nodes import Constants, Function, Partials
from .normalization import OUTWARD, largest_rows, norms, projected, rms_rows

LARGEST = 2.0**1020
UNDERFLOWN = 2.0**-960
"""More than squares lose among subnormal numbers."""


@dataclass(frozen=True, eq=False)
class Scaling(ABC):
    """x -> x / s(x) over groups of n entries; `index` is `(groups, n)`, flat positions."""

    index: Tensor

    @property
    def n(self) -> int:
        """Entries of a group."""
        return self.index.shape[1]

    @property
    @abstractmethod
    def reach(self) -> float:
        """No entry of the result is larger."""

    @property
    @abstractmethod
    def share(self) -> float:
        """Of z z^T in the Jacobian (I - share z z^T) / s, z the result."""

    @abstractmethod
    def divisor(self, squares: Tensor) -> Tensor:
        """s from the sum of squares of a group; nondecreasing."""

    @abstractmethod
    def constants(self) -> Constants:
        """On the whole space; infinite where s has no floor."""

    def __call__(self, x: Tensor) -> Tensor:
        """`(B, *shape)` -> `(B, size)`."""
        grouped = x.flatten(1)[:, self.index]
        return self._placed(grouped / self.divisor(grouped.square().sum(-1, keepdim=True)))

    def local(self, lower: Tensor, upper: Tensor) -> Constants:
        """On `lower <= x <= upper`."""
        least = float(self._divisors(lower, upper)[0].min())
        steepest = OUTWARD / least if least > 0.0 else math.inf
        near = norms(steepest, max(1.0, (1.0 + math.sqrt(self.n)) / 2) * OUTWARD)
        return {p: min(near[p], constant) for p, constant in self.constants().items()}

    def range(self, _function: Function, lower: Tensor, upper: Tensor) -> Ends:
        """An entry over the least or the greatest divisor, by its sign."""
        least, most = self._divisors(lower, upper)
        low, high = lower[self.index], upper[self.index]
        low, high = torch.minimum(low / least, low / most), torch.maximum(high / least, high / most)
        reach = self.reach * (1.0 + MARGIN)
        low, high = torch.nan_to_num(low, nan=-reach), torch.nan_to_num(high, nan=reach)
        ends = self._placed(torch.stack([low, high])).clamp(-reach, reach)
        return widened(ends[0], ends[1], MARGIN * ends.abs().amax(0))

    @property
    def partials(self) -> Partials:
        """(I - share z z^T) / s, z the result; and I / s where s does not vary."""
        return Partials(self.index, self._partials)

    def _partials(self, lower: Tensor, upper: Tensor) -> Ends:
        least, most = projected(
            self.range(self, lower, upper),
            self.index,
            0.0,
            share=self.share,
            divisor=self._divisors(lower, upper),
            gain=1.0,
        )
        diagonal = torch.eye(self.n, dtype=torch.bool, device=lower.device)
        greatest = 1.0 / self._divisors(lower, upper)[0][:, :, None] * (1.0 + MARGIN)
        return torch.where(diagonal, least, least.clamp(max=0.0)), torch.where(diagonal, greatest, most.clamp(min=0.0))

    def _divisors(self, lower: Tensor, upper: Tensor) -> Ends:
        """Bounds of s, `(groups, 1)`."""
        low, high = lower[self.index], upper[self.index]
        inner = torch.where((low <= 0.0) & (high >= 0.0), 0.0, torch.minimum(low.abs(), high.abs()))
        lost = MARGIN + gamma(self.n)
        least, most = (x.square().sum(1, keepdim=True) for x in (inner, magnitude((low, high))))
        greatest = self.divisor(most * (1.0 + lost) + UNDERFLOWN)
        least = least.clamp(max=LARGEST)  # squares that overflow are no infinite divisor, which would make slopes 0
        return self.divisor(least * (1.0 - lost)) / OUTWARD, greatest * OUTWARD

    def _placed(self, grouped: Tensor) -> Tensor:
        """Groups `(B, groups, n)` back to flat positions."""
        return grouped.flatten(1)[:, torch.argsort(self.index.flatten())]


@dataclass(frozen=True, eq=False)
class RootMeanSquare(Scaling):
    """x / sqrt(mean x^2 + eps)."""

    eps: float

    @property
    def reach(self) -> float:
        """sqrt(n)."""
        return math.sqrt(self.n)

    @property
    def share(self) -> float:
        """1 / n."""
        return 1.0 / self.n

    def divisor(self, squares: Tensor) -> Tensor:
        """sqrt(sum / n + eps)."""
        return torch.sqrt(squares / self.n + self.eps)

    def constants(self) -> Constants:
        """1 / sqrt(eps), where eps is positive."""
        return norms(OUTWARD / math.sqrt(self.eps) if self.eps > 0 else math.inf, largest_rows(self.n, rms_rows))


@dataclass(frozen=True, eq=False)
class UnitVector(Scaling):
    """x / max(|x|, floor), in the 2-norm."""

    floor: float

    @property
    def reach(self) -> float:
        """1."""
        return 1.0

    @property
    def share(self) -> float:
        """1."""
        return 1.0

    def divisor(self, squares: Tensor) -> Tensor:
        """max(root of the sum, floor)."""
        return torch.sqrt(squares).clamp(min=self.floor)

    def constants(self) -> Constants:
        """1 / floor, where that is positive."""
        steepest = OUTWARD / self.floor if self.floor > 0 else math.inf
        return norms(steepest, max(1.0, (1.0 + math.sqrt(self.n)) / 2) * OUTWARD)
