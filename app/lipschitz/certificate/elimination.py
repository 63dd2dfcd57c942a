"""Sparse symmetric matrices eliminated part by part: dense blocks, in an order that is planned before anything starts.

The parts are sets of variables, such as a region of an image in all its maps, or a dense layer; the neighbours of one
that is eliminated become neighbours of each other. A border of further rows, the outputs, comes last.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from .balls import Array

Positions = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Plan:
    """The parts in the order of elimination, with the later parts that each meets, by their places in it.

    `counts` `(N,)` are the entries of every row of the factor at most; `work` its multiplications, but those of the
    border with itself, `memory` the numbers that are held at once at most.
    """

    parts: tuple[Positions, ...]
    later: tuple[tuple[int, ...], ...]
    counts: Array
    work: float
    memory: float

    @classmethod
    def of(cls, matrix: sp.csr_array, ordered: Sequence[Positions], free: Sequence[Positions], border: int) -> Plan:
        """For the pattern of `matrix`, `(N, N)`, and so many rows of the border.

        The `ordered` parts keep their order; the `free` ones go before whichever of them costs more.
        """
        parts = [part for part in (*ordered, *free) if len(part)]
        count = len(parts) - sum(1 for part in free if len(part))
        front = _Front(parts, *_neighbours(matrix, parts), border)
        waiting, rest = deque(range(count)), set(range(count, len(parts)))
        while waiting or rest:
            b = min([*list(waiting)[:1], *sorted(rest)], key=front.cost)
            front.eliminate(b)
            if b in rest:
                rest.remove(b)
            else:
                waiting.popleft()
        place = {b: i for i, b in enumerate(front.order)}
        seen = tuple(tuple(sorted(place[one] for one in after)) for after in front.later)
        chosen = tuple(parts[b] for b in front.order)
        counts = _counts(chosen, seen, matrix.shape[0])
        return cls(chosen, seen, counts, front.work, front.memory + border * matrix.shape[0])


@dataclass(eq=False)
class _Front:
    """What is left of the parts while they are eliminated: which `meets` which, and which are `full` matrices."""

    parts: Sequence[Positions]
    meets: dict[int, set[int]]
    full: set[int]
    border: int
    order: list[int] = field(default_factory=list)
    later: list[set[int]] = field(default_factory=list)
    work: float = 0.0
    memory: float = 0.0
    _filled: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    _held: float = 0.0

    def cost(self, b: int) -> float:
        """Multiplications of eliminating a part now."""
        n, k = float(len(self.parts[b])), float(sum(len(self.parts[one]) for one in self.meets[b]))
        inner = n**3 / 6.0 + n * n * (k + self.border) / 2.0 if b in self.full else 0.0
        return n * k * (k / 2.0 + self.border) + inner

    def eliminate(self, b: int) -> None:
        """The part's neighbours become neighbours of each other."""
        self.work += self.cost(b)
        size, around = len(self.parts[b]), self.meets.pop(b)
        self.order.append(b)
        self.later.append(around)
        for one in self._filled.pop(b, set()):
            self._held -= float(size * len(self.parts[one]))
            self._filled[one].discard(b)
        front = size * (2.0 * sum(len(self.parts[one]) for one in around) + 2.0 * size * (b in self.full))
        for one in around:
            self._fill(one, around)
            self.meets[one] = (self.meets[one] | around) - {b, one}
        self.full |= around
        self.memory = max(self.memory, front + self._held)

    def _fill(self, one: int, around: set[int]) -> None:
        """Blocks between a part and those around are held from now on, each once."""
        for other in around - self._filled[one]:
            self._filled[one].add(other)
            self._filled[other].add(one)
            self._held += float(len(self.parts[one]) * len(self.parts[other]))


def _neighbours(matrix: sp.csr_array, parts: Sequence[Positions]) -> tuple[dict[int, set[int]], set[int]]:
    """Which parts meet which others, and the parts that are no diagonal matrices."""
    own = np.empty(matrix.shape[0], dtype=np.int64)
    for b, part in enumerate(parts):
        own[part] = b
    entries = matrix.tocoo()
    rows, columns = entries.coords
    off = rows != columns
    pairs = np.unique(own[rows[off]] * len(parts) + own[columns[off]])
    meets: dict[int, set[int]] = {b: set() for b in range(len(parts))}
    full = set()
    for i, j in zip((pairs // len(parts)).tolist(), (pairs % len(parts)).tolist(), strict=True):
        if i == j:
            full.add(i)
        else:
            meets[i].add(j)
            meets[j].add(i)
    return meets, full


def _counts(parts: Sequence[Positions], later: Sequence[Sequence[int]], side: int) -> Array:
    counts = np.zeros(len(parts))
    for part, after in zip(parts, later, strict=True):
        counts[list(after)] += len(part)
    every = np.zeros(side)
    for part, count in zip(parts, counts, strict=True):
        every[part] = count + len(part)
    return every


@dataclass(frozen=True, eq=False)
class Blocks:
    """A matrix and the border below it, laid out as a plan wants them."""

    plan: Plan
    matrix: sp.csr_array
    border: sp.csr_array

    def complement(self, shift: float, *, whole: bool) -> Tensor | None:
        """B (M - shift I)^-1 B^T for the border B, `(p, p)`, or its diagonal alone; None where a pivot fails."""
        parts, border = self.plan.parts, self.border.tocsc()
        strips = [torch.from_numpy(border[:, part].toarray()) for part in parts]
        blocks: dict[tuple[int, int], Tensor] = {}
        p = border.shape[0]
        total = torch.zeros((p, p) if whole else (p,), dtype=torch.float64, device="cpu")
        for b, (part, after) in enumerate(zip(parts, self.plan.later, strict=True)):
            strip = self.matrix[part].tocsc()
            half = _half(strip[:, part].tocsr(), blocks.pop((b, b), None), shift)
            if half is None:
                return None
            own = [_summed(strip[:, parts[one]].toarray().T, blocks.pop((one, b), None)) for one in after]
            solved = half(torch.cat([*own, strips[b]]).T)
            inner, outer = solved[:, : solved.shape[1] - p], solved[:, solved.shape[1] - p :]
            total += outer.T @ outer if whole else outer.square().sum(0)
            first = 0
            for i, one in enumerate(after):
                last = first + len(parts[one])
                mine = inner[:, first:last].T
                strips[one] = strips[one] - (mine @ outer).T
                _subtract(blocks, after[: i + 1], one, mine @ inner[:, :last], parts)
                first = last
        return total


def _summed(stored: Array, change: Tensor | None) -> Tensor:
    block = torch.from_numpy(np.ascontiguousarray(stored))
    return block if change is None else block + change


def _half(stored: sp.csr_array, change: Tensor | None, shift: float) -> Callable[[Tensor], Tensor] | None:
    """Y -> L^-1 Y for the Cholesky factor L of a block; None where it has none."""
    diagonal = torch.from_numpy(stored.diagonal()) - shift
    if change is None and stored.nnz == stored.diagonal().astype(bool).sum():
        return partial(_divided, diagonal.sqrt()) if bool((diagonal > 0.0).all()) else None
    block = _summed(stored.toarray(), change)
    block.diagonal().sub_(shift)
    factor, info = torch.linalg.cholesky_ex(block)
    if int(info) or not bool(torch.isfinite(factor).all()):
        return None
    return partial(torch.linalg.solve_triangular, factor, upper=False)


def _divided(root: Tensor, y: Tensor) -> Tensor:
    return y / root[:, None]


def _subtract(
    blocks: dict[tuple[int, int], Tensor], among: Sequence[int], row: int, product: Tensor, parts: Sequence[Positions]
) -> None:
    """The row of blocks between one part and those before it, less a product."""
    pieces = product.split([len(parts[one]) for one in among], 1)
    for one, piece in zip(among, pieces, strict=True):
        known = blocks.get((row, one))
        if known is None:
            blocks[row, one] = -piece
        else:
            known -= piece
