"""Open neurons as two straight pieces that meet at a kink; those of other functions keep their lines and slopes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ...bounds.lines import lines
from ...network.nodes import Activation
from ...operators.rounding import TINY, UNIT
from ...problem import Problem
from ..phases.pieces import pieces_of


@dataclass(frozen=True, eq=False)
class Relaxed:
    """Lines around every neuron's function on a part's ranges: slopes and offsets below and above, `(P, M)` each."""

    below: Tensor
    under: Tensor
    above: Tensor
    over: Tensor


@dataclass(frozen=True, eq=False)
class Kinks:
    """`left` v + `bottom` up to the kink `at`, `right` v + `top` beyond, `(M,)` each, where `splits`.

    Elsewhere `lines`, rows (below, under, above, over), and slopes between `left` and `right` hold on the whole domain.
    """

    at: Tensor
    left: Tensor
    right: Tensor
    bottom: Tensor
    top: Tensor
    splits: Tensor
    lines: Tensor

    @classmethod
    def of(cls, problem: Problem, open_: Mapping[Activation, Tensor]) -> Kinks:
        """Of the neurons at these positions."""
        parts = [_of_activation(problem, node, positions) for node, positions in open_.items()]
        return cls(*(torch.cat(column, -1) for column in zip(*parts, strict=True)))

    def slopes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Least and greatest slope on ranges `(P, M)` of the arguments.

        What a range touches at its end alone is left out: an open set on which an argument stays there is one on which
        it does not vary.
        """
        is_left, is_right = self.splits & (upper <= self.at), self.splits & (lower >= self.at)
        one = torch.where(is_right, self.right, torch.where(is_left, self.left, torch.minimum(self.left, self.right)))
        two = torch.where(is_right, self.right, torch.where(is_left, self.left, torch.maximum(self.left, self.right)))
        return one, two

    def relaxed(self, lower: Tensor, upper: Tensor, alpha: Tensor) -> Relaxed:
        """Lines on ranges `(P, M)`: the chord on one side, on the other one through the kink, `alpha` in [0, 1] of the
        way from the left piece's slope to the right one's.
        """
        l, u = torch.minimum(lower, self.at), torch.maximum(upper, self.at)  # noqa: E741 - the papers' names
        low, high = self.left * l + self.bottom, self.right * u + self.top
        wide = (u - l).clamp(min=TINY)
        chord = ((high - low) / wide).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
        tilted = self.left + alpha * (self.right - self.left)
        middle = self.left * self.at + self.bottom
        steep = self.left.abs() + self.right.abs() + chord.abs()
        size = (steep * (l.abs() + u.abs() + self.at.abs()) + self.bottom.abs() + self.top.abs()).detach()
        lost = 16 * UNIT * size + 16 * TINY
        convex = self.right >= self.left
        ends = low - chord * l, high - chord * u
        over_chord, under_chord = torch.maximum(*ends) + lost, torch.minimum(*ends) - lost
        through = middle - tilted * self.at
        left, right = self.splits & (upper <= self.at), self.splits & (lower >= self.at)

        def chosen(open_: Tensor, of_left: Tensor, of_right: Tensor, line: Tensor) -> Tensor:
            slopes = torch.where(left, of_left, torch.where(right, of_right, open_))
            return torch.where(self.splits, slopes, line)

        below, under, above, over = self.lines
        return Relaxed(
            chosen(torch.where(convex, tilted, chord), self.left, self.right, below),
            chosen(torch.where(convex, through - lost, under_chord), self.bottom, self.top, under),
            chosen(torch.where(convex, chord, tilted), self.left, self.right, above),
            chosen(torch.where(convex, over_chord, through + lost), self.bottom, self.top, over),
        )

    def adaptive(self, lower: Tensor, upper: Tensor) -> Tensor:
        """CROWN's choice of alpha, `(P, M)`: the piece that is the longer one on the range."""
        return (upper - self.at > self.at - lower).to(lower.dtype)


def _of_activation(problem: Problem, node: Activation, positions: Tensor) -> list[Tensor]:
    pieces = pieces_of(node.scalar, node.size)
    if pieces is not None and pieces.kinks.shape[1] == 1:
        columns = [pieces.kinks[:, 0], *(pieces.slopes.unbind(1)), *(pieces.intercepts.unbind(1))]
        chosen = [column.to(torch.float64)[positions] for column in columns]
        return [*chosen, torch.ones_like(positions, dtype=torch.bool), chosen[0].new_zeros(4, len(positions))]
    source = problem.local.intervals[node.source]
    low, high = problem.local.slopes(node)
    chords = lines(node.scalar, source.lower, source.upper)
    around = torch.stack([*chords.lower, *chords.upper])[:, positions]
    none = torch.zeros(len(positions), dtype=torch.float64)
    return [none, low[positions], high[positions], none, none, torch.zeros_like(positions, dtype=torch.bool), around]
