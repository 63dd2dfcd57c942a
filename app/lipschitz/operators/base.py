"""Linear operators between flat real vector spaces, and the questions that can be asked of them.

An operator maps batches of flat vectors, `(B, n) -> (B, m)`, and knows the tensor shapes behind n and m.
All arithmetic is float64. A subclass gives `mv`; the adjoint comes from autodiff unless overridden.

`error` bounds the distance to the operator in real arithmetic: the stored numbers were folded in floating
point, and for p in {1, 2, inf} the exact operator A satisfies ||A - self||_p <= error. Every certified norm
adds it. `majorant()` is the operator with entries |A_ij| or larger, from which the 1- and inf-norms follow.
`depth` and `absolute_sums()` are what the rounding analysis of a floating-point product needs to know.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class LinearOperator(ABC):
    """A linear map from tensors of `in_shape` to tensors of `out_shape`, acting on flat batches."""

    in_shape: Shape
    out_shape: Shape

    @property
    def in_size(self) -> int:
        """Number of input entries, n."""
        return math.prod(self.in_shape)

    @property
    def out_size(self) -> int:
        """Number of output entries, m."""
        return math.prod(self.out_shape)

    @property
    def error(self) -> float:
        """Bound on ||exact - stored||_p for p = 1, 2 and inf; 0 when the stored numbers are exact."""
        return 0.0

    @property
    def device(self) -> torch.device | None:
        """Where the weights live; None for an operator that has none and follows its argument."""
        return None

    @property
    def depth(self) -> int:
        """Rounding errors met by one entry: |fl(A x) - A x| <= gamma_depth |A| |x|, for mv and rmv alike."""
        raise NotImplementedError(f"{type(self).__name__} does not bound its rounding errors")

    def absolute_sums(self) -> tuple[float, float]:
        """Upper bounds of ||M||_1 and ||M||_inf for the majorant M, cheap rather than sharp."""
        raise NotImplementedError(f"{type(self).__name__} does not bound its majorant")

    @abstractmethod
    def mv(self, x: Tensor) -> Tensor:
        """A x for a batch: `(B, n)` -> `(B, m)`, differentiable in x."""

    @abstractmethod
    def majorant(self) -> LinearOperator:
        """An operator whose entries are at least |A_ij|."""

    def rmv(self, y: Tensor) -> Tensor:
        """A^T y for a batch: `(B, m)` -> `(B, n)`; the adjoint by autodiff, exact because A is linear."""
        with torch.enable_grad():
            x = torch.zeros(y.shape[0], self.in_size, dtype=y.dtype, device=y.device, requires_grad=True)
            (adjoint,) = torch.autograd.grad(self.mv(x), x, y, materialize_grads=True)
        return adjoint.detach()

    def as_matrix(self) -> Tensor:
        """The dense matrix, `(m, n)`; built from the smaller side."""
        if self.in_size <= self.out_size:
            return self.mv(torch.eye(self.in_size, dtype=torch.float64, device=self.device)).T
        return self.rmv(torch.eye(self.out_size, dtype=torch.float64, device=self.device))
