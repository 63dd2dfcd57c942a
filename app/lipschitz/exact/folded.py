"""What is left of a network on a domain: the system of its M open neurons, in dense matrices.

z = S (V_x x + V_z z), y = C_x x + C_z z. Its Jacobian C_x + C_z (I - S V_z)^-1 S V_x is affine in each slope apart.

Rounding in the 2-norm: with R = (I - S V_z)^-1, exact and computed Jacobians differ by at most
(|C error| + |C_z| |R| |S| |V error|) (1 + |Z|), where the errors hold those of the folded maps and gamma_n times the
maps' sizes for what is computed here, and R is computed, with its residual.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..lipsdp.region import Region
from ..operators.rounding import gamma

OUTWARD = 1.0 + 2.0**-20
"""Covers the rounding of the few sums and products that make up an error."""


@dataclass(frozen=True, eq=False)
class Folded:
    """V `(M, N)` and C `(p, N)` of the system, N = inputs + M; both with errors in the 2-norm; the output's scale."""

    v: Tensor
    c: Tensor
    v_error: float
    c_error: float
    lower: Tensor
    upper: Tensor
    layers: tuple[slice, ...]
    exponent: int

    @classmethod
    def of(cls, region: Region) -> Folded:
        """The region's system in dense matrices."""
        system = region.system
        count = system.lower.shape[1]
        v = torch.zeros(count, system.inputs + count, dtype=torch.float64)
        for block in system.blocks:
            v[block.rows, block.columns] += block.matrix
        error = OUTWARD * sum(block.error for block in system.blocks)
        return cls(
            v, system.output, error, system.output_error, system.lower[0], system.upper[0], region.layers,
            region.exponent,
        )  # fmt: skip

    @property
    def count(self) -> int:
        """The number of open neurons, M."""
        return len(self.lower)

    @property
    def inputs(self) -> int:
        """The number of the input's coordinates, n."""
        return self.v.shape[1] - self.count

    @property
    def transposed(self) -> Folded:
        """The system of J^T: the network read backwards."""
        n = self.inputs
        v = torch.cat([self.c[:, n:].T, self.v[:, n:].T], 1)
        c = torch.cat([self.c[:, :n].T, self.v[:, :n].T], 1)
        error = OUTWARD * (self.v_error + self.c_error)
        return replace(self, v=v, c=c, v_error=error, c_error=error, layers=self.layers[::-1])

    def jacobians(self, slopes: Tensor) -> Tensor:
        """`(b, M)` slopes -> `(b, p, n)`, layer after layer."""
        z = self.v.new_zeros(len(slopes), self.count, self.inputs)
        direct, between = self.v[:, : self.inputs], self.v[:, self.inputs :]
        for layer in self.layers:
            z[:, layer] = slopes[:, layer, None] * (direct[layer] + between[layer] @ z)
        return self.c[:, : self.inputs] + self.c[:, self.inputs :] @ z

    def error(self, slopes: Tensor) -> float:
        """How far exact Jacobians are from those computed, in the 2-norm; infinite where rounding hides them."""
        steepest = float(slopes.abs().max())
        share = 2.0 * gamma(self.v.shape[1] + 8)
        between = slopes[:, :, None] * self.v[:, self.inputs :]
        inverse = self._inverse(slopes)
        own = float(torch.linalg.matrix_norm(inverse).max()) * OUTWARD
        unit = torch.eye(self.count, dtype=torch.float64)
        away = float(torch.linalg.matrix_norm(inverse - between @ inverse - unit).max())
        away += share * (1.0 + steepest * size_of(self.v)) * own
        own = own / (1.0 - away) if away < 0.5 else math.inf
        defect = own * steepest * (self.v_error + share * size_of(self.v))
        own = own / (1.0 - defect) if defect < 0.5 else math.inf
        reach = 1.0 + own * steepest * (size_of(self.v[:, : self.inputs]) + self.v_error)
        inner = (size_of(self.c[:, self.inputs :]) + self.c_error) * own * steepest
        outer = self.c_error + share * size_of(self.c)
        return OUTWARD * (outer + inner * (self.v_error + share * size_of(self.v))) * reach

    def _inverse(self, slopes: Tensor) -> Tensor:
        """(I - S V_z)^-1, `(b, M, M)`, layer after layer."""
        r = torch.eye(self.count, dtype=torch.float64).repeat(len(slopes), 1, 1)
        between = self.v[:, self.inputs :]
        for layer in self.layers:
            r[:, layer] += slopes[:, layer, None] * (between[layer] @ r)
        return r


def size_of(matrix: Tensor) -> float:
    """At least the 2-norm."""
    return OUTWARD * float(torch.linalg.vector_norm(matrix)) + 1e-150
