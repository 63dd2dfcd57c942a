"""How far a step may go before a matrix or a vector stops being positive."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ...operators.gram import deterministic_start

_DIRECT = 200
_STEPS = 16
_EXHAUSTED = 1e-10
"""A new direction smaller than this, relative, is rounding: the inverse is only as good as its condition allows."""


@dataclass(frozen=True, eq=False)
class Positive:
    """Positive definite matrices M = L L^T, `(P, N, N)`."""

    matrix: Tensor
    factor: Tensor

    @cached_property
    def inverse(self) -> Tensor:
        """M^-1."""
        return torch.cholesky_inverse(self.factor)

    def longest_step(self, direction: Tensor) -> Tensor:
        """Largest alpha with M + alpha D positive semidefinite, `(P,)`; infinite where every alpha will do.

        An estimate for large matrices: the caller factorises what it steps to.
        """
        if self.matrix.shape[-1] <= _DIRECT:
            half = torch.linalg.solve_triangular(self.factor, direction, upper=False)
            least = torch.linalg.eigvalsh(torch.linalg.solve_triangular(self.factor, half.mT, upper=False))[:, 0]
        else:
            least = self._least_ritz(direction)
        return _until_zero(least)

    def _least_ritz(self, d: Tensor) -> Tensor:
        """The least eigenvalue of M^-1 D less its residual, by Lanczos steps in the inner product of M.

        Basis vectors q are kept with their images M q, so that no step multiplies by M or solves with it.
        """
        count, n, _ = d.shape
        basis, images = d.new_zeros(count, _STEPS, n), d.new_zeros(count, _STEPS, n)
        tridiagonal = d.new_zeros(count, _STEPS, _STEPS)
        q = deterministic_start(n, d).expand(count, n)[:, :, None]
        image = self.matrix @ q
        beta = (q * image).sum((1, 2)).sqrt()
        for k in range(_STEPS):
            basis[:, k], images[:, k] = (v[:, :, 0] / beta[:, None] for v in (q, image))
            image = d @ basis[:, k, :, None]
            q = self.inverse @ image
            tridiagonal[:, k, k] = (basis[:, k] * image[:, :, 0]).sum(1)
            for _ in range(2):
                known = images[:, : k + 1] @ q
                q, image = q - basis[:, : k + 1].mT @ known, image - images[:, : k + 1].mT @ known
            beta = (q * image).sum((1, 2)).sqrt()
            if k + 1 == _STEPS or not bool((beta > _EXHAUSTED * tridiagonal[:, k, k].abs()).all()):
                break
            tridiagonal[:, k + 1, k] = tridiagonal[:, k, k + 1] = beta
        ritz, vectors = torch.linalg.eigh(torch.nan_to_num(tridiagonal[:, : k + 1, : k + 1]))
        least: Tensor = ritz[:, 0] - torch.nan_to_num(beta) * vectors[:, -1, 0].abs()
        return least


def longest_positive(x: Tensor, direction: Tensor) -> Tensor:
    """Largest alpha with x + alpha d >= 0 for every row of `(P, m)`, x > 0."""
    return _until_zero((direction / x).amin(1))


def _until_zero(rate: Tensor) -> Tensor:
    """Where 1 + alpha rate becomes zero."""
    return torch.where(rate < 0, -1.0 / rate.clamp(max=-1e-300), math.inf)
