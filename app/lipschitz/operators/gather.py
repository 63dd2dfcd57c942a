"""Reading entries by position: permute, slice, index, expand, pad, flip, roll, nearest upsampling."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .base import LinearOperator


@dataclass(frozen=True, eq=False)
class Gather(LinearOperator):
    """y_j = x[index_j] on flat vectors, and 0 where the index is -1.

    `index` is int64, `(m,)`, with entries in [-1, n); ValueError otherwise.
    """

    index: Tensor

    def __post_init__(self) -> None:
        if self.index.shape != (self.out_size,) or self.index.dtype != torch.int64:
            raise ValueError(f"index must be int64 of shape ({self.out_size},)")
        if self.index.numel() and not -1 <= int(self.index.min()) <= int(self.index.max()) < self.in_size:
            raise ValueError(f"index outside [-1, {self.in_size})")

    @property
    def device(self) -> torch.device:
        """Where the index lives."""
        return self.index.device

    @cached_property
    def multiplicity(self) -> tuple[int, int]:
        """The least and the greatest number of times that an input is read."""
        if self.in_size == 0:
            return 0, 0
        counts = torch.bincount(self.index[self.index >= 0], minlength=self.in_size)
        return int(counts.min()), int(counts.max())

    @cached_property
    def has_zeros(self) -> bool:
        """Some output is 0 whatever the input."""
        return bool((self.index < 0).any())

    @property
    def depth(self) -> int:
        """Terms in the longest sum of the adjoint."""
        return self.multiplicity[1]

    def absolute_sums(self) -> tuple[float, float]:
        """Greatest multiplicity, and 1 unless nothing is read: exact."""
        most = self.multiplicity[1]
        return float(most), float(most > 0)

    def mv(self, x: Tensor) -> Tensor:
        """`(B, n)` -> `(B, m)`."""
        if not self.has_zeros:
            return x[:, self.index]
        if self.in_size == 0:
            return x.new_zeros(x.shape[0], self.out_size)
        return torch.where(self.index >= 0, x[:, self.index.clamp(min=0)], 0.0)

    def rmv(self, y: Tensor) -> Tensor:
        """`(B, m)` -> `(B, n)`: every input collects the outputs that read it."""
        read = self.index >= 0
        return y.new_zeros(y.shape[0], self.in_size).index_add(1, self.index[read], y[:, read])

    def majorant(self) -> LinearOperator:
        """Itself: its entries are 0 and 1."""
        return self
