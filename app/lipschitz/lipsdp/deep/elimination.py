"""Which variables of a chain to eliminate first, and what is left.

Consecutive blocks of a chain's matrix are coupled, and most of them are diagonal in themselves. Eliminating diagonal
blocks, no two of them neighbours, costs a product each and leaves a dense matrix of the others: one hidden layer of
10,000 neurons between 784 inputs and 10 outputs leaves a side of 794.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from app.lipschitz.lipsdp.deep.tridiagonal import Tridiagonal
from app.lipschitz.operators.cholesky import is_factor


@dataclass(frozen=True, eq=False)
class Blocks:
    """Blocks (k, k) as a diagonal, `dense` where there is more to them, and (k, k - 1) `below`."""

    diagonal: tuple[Tensor, ...]
    dense: tuple[Tensor | None, ...]
    below: tuple[Tensor, ...]

    @property
    def widths(self) -> list[int]:
        """Variables of every block."""
        return [len(block) for block in self.diagonal]

    def full(self, k: int) -> Tensor:
        """Block (k, k)."""
        dense, own = self.dense[k], torch.diag(self.diagonal[k])
        return own if dense is None else own + dense


def eliminated(widths: Sequence[int], may_go: Sequence[bool]) -> frozenset[int]:
    """Those blocks, no two of them neighbours, that are the most variables in all."""
    best: list[tuple[int, frozenset[int]]] = [(0, frozenset()), (0, frozenset())]
    for k, (width, may) in enumerate(zip(widths, may_go, strict=True)):
        with_it = best[-2][0] + width, best[-2][1] | {k}
        best.append(max(best[-1], with_it, key=lambda one: one[0]) if may else best[-1])
    return best[-1][1]


@dataclass(frozen=True, eq=False)
class Reduction:
    """The Cholesky factorisation in an order that starts with the blocks `gone`; `factor` is that of the rest.

    `halves` `(n, neighbours)` are each gone block's columns below its factor, transposed: couplings over roots.
    """

    blocks: Blocks
    gone: frozenset[int]
    halves: dict[int, Tensor]
    factor: Tensor

    @classmethod
    def of(cls, blocks: Blocks, gone: frozenset[int]) -> Reduction | None:
        """None where the matrix is not positive definite."""
        places = _places(blocks.widths, gone)
        size = max((place.stop for place in places.values()), default=0)
        rest = blocks.diagonal[0].new_zeros(size, size)
        for k, place in places.items():
            rest[place, place] = blocks.full(k)
            if k + 1 in places:
                rest[places[k + 1], place] = blocks.below[k]
        halves = {}
        for k in sorted(gone):
            if not bool((blocks.diagonal[k] > 0.0).all()):
                return None
            halves[k] = _beside(blocks, k) * blocks.diagonal[k].rsqrt()[:, None]
            where = _around(places, k)
            rest[where, where].sub_(halves[k].T @ halves[k])
        factor, info = torch.linalg.cholesky_ex(rest)
        sound = int(info) == 0 and bool(torch.isfinite(factor).all())
        if sound and rest.is_cuda:
            sound = bool(is_factor(rest, factor))
        return cls(blocks, gone, halves, factor) if sound else None

    def solve_last(self, right: Tensor) -> list[Tensor]:
        """All blocks of the solution for right-hand sides in the last one, `(n, q)`."""
        widths = self.blocks.widths
        places, last = _places(widths, self.gone), len(widths) - 1
        rest = right.new_zeros(len(self.factor), right.shape[1])
        if last in self.gone:
            scaled = right * self.blocks.diagonal[last].rsqrt()[:, None]
            rest[_around(places, last)] -= self.halves[last].T @ scaled
        else:
            rest[places[last]] = right
        rest = torch.cholesky_solve(rest, self.factor)
        found = []
        for k in range(len(widths)):
            if k in self.gone:
                root = self.blocks.diagonal[k].rsqrt()[:, None]
                own = -(self.halves[k] @ rest[_around(places, k)])
                found.append(root * (own + scaled if k == last else own))
            else:
                found.append(rest[places[k]])
        return found

    def logdet(self) -> float:
        """The logarithm of the determinant."""
        kept = 2.0 * float(self.factor.diagonal().log().sum())
        return kept + sum(float(self.blocks.diagonal[k].log().sum()) for k in self.gone)

    def inverse(self) -> Tridiagonal:
        """Entries of the inverse: blocks (k, k - 1), and (k, k), of which those gone are diagonals, `(n,)`."""
        places = _places(self.blocks.widths, self.gone)
        rest = torch.cholesky_inverse(self.factor)
        count = len(self.blocks.widths)
        diagonal = [rest[places[k], places[k]] if k in places else self.blocks.diagonal[k] for k in range(count)]
        below = [rest[places[k], places[k - 1]] if k in places and k - 1 in places else rest for k in range(1, count)]
        for k in self.gone:
            root, where = self.blocks.diagonal[k].rsqrt(), _around(places, k)
            seen = self.halves[k] @ rest[where, where]
            diagonal[k] = root.square() * (1.0 + (self.halves[k] * seen).sum(1))
            seen.mul_(-root[:, None])
            if k > 0:
                below[k - 1] = seen[:, : self.blocks.widths[k - 1]]
            if k + 1 < count:
                below[k] = seen[:, seen.shape[1] - self.blocks.widths[k + 1] :].T
        return Tridiagonal(tuple(diagonal), tuple(below))

    def samples(self, right: Tensor) -> list[Tensor]:
        """L^-T right in blocks, for `(N, q)`: columns of covariance like the inverse for those of unit covariance."""
        widths = self.blocks.widths
        places, parts = _places(widths, self.gone), right.split(widths)
        kept = torch.cat([parts[k] for k in places]) if places else right[:0]
        rest = torch.linalg.solve_triangular(self.factor.T, kept, upper=True)
        return [
            rest[places[k]]
            if k in places
            else self.blocks.diagonal[k].rsqrt()[:, None] * (parts[k] - self.halves[k] @ rest[_around(places, k)])
            for k in range(len(widths))
        ]


def _places(widths: Sequence[int], gone: frozenset[int]) -> dict[int, slice]:
    kept = [k for k in range(len(widths)) if k not in gone]
    ends = [0, *accumulate(widths[k] for k in kept)]
    return {k: slice(ends[i], ends[i + 1]) for i, k in enumerate(kept)}


def _around(places: dict[int, slice], k: int) -> slice:
    """Where the neighbours of a block gone are: side by side, since it is gone."""
    near = [places[j] for j in (k - 1, k + 1) if j in places]
    return slice(near[0].start, near[-1].stop) if near else slice(0, 0)


def _beside(blocks: Blocks, k: int) -> Tensor:
    """The couplings of a block with its neighbours, `(n, neighbours)`."""
    near = [blocks.below[k - 1]] if k > 0 else []
    if k < len(blocks.below):
        near.append(blocks.below[k].T)
    return torch.cat(near, 1) if near else blocks.diagonal[k].new_zeros(len(blocks.diagonal[k]), 0)
