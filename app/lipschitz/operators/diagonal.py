"""Entrywise multiplication by a constant."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .base import LinearOperator, Shape
from .weights import require_finite


@dataclass(frozen=True, eq=False)
class Diagonal(LinearOperator):
    """y = w * x, with `weight` broadcastable to the shape; ValueError otherwise."""

    weight: Tensor
    error: float = 0.0

    def __post_init__(self) -> None:
        require_finite(self.weight, "Diagonal")
        if self.in_shape != self.out_shape:
            raise ValueError(f"a diagonal keeps the shape: {self.in_shape} -> {self.out_shape}")
        aligned = zip(self.aligned_shape, self.in_shape, strict=False)
        if self.weight.ndim > len(self.in_shape) or any(w not in (1, n) for w, n in aligned):
            raise ValueError(f"weight {tuple(self.weight.shape)} does not broadcast to {self.in_shape}")

    @property
    def aligned_shape(self) -> Shape:
        """The weight's shape with leading ones, so that its dimensions line up with `in_shape`."""
        return (1,) * (len(self.in_shape) - self.weight.ndim) + tuple(self.weight.shape)

    @property
    def device(self) -> torch.device:
        """Where the weight lives."""
        return self.weight.device

    @property
    def depth(self) -> int:
        return 1

    def absolute_sums(self) -> tuple[float, float]:
        """max |w|, twice."""
        largest = float(self.weight.abs().max()) if self.weight.numel() else 0.0
        return largest, largest

    def mv(self, x: Tensor) -> Tensor:
        """`(B, n)` -> `(B, n)`."""
        return (x.reshape(x.shape[0], *self.in_shape) * self.weight).reshape(x.shape)

    def rmv(self, y: Tensor) -> Tensor:
        """`(B, n)` -> `(B, n)`: a diagonal is its own adjoint."""
        return self.mv(y)

    def majorant(self) -> LinearOperator:
        """|w|."""
        return replace(self, weight=self.weight.abs(), error=0.0)
