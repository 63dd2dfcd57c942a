"""A symmetric matrix seen through the constraint's vectors: u_i^T D u_j, u_i^T D w_j, w_i^T D w_j.

The Schur matrix of the primal-dual direction is made of these forms of Z and of S^-1: every constraint matrix has
rank two, so no constraint matrix is ever built.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..system import System


@dataclass(frozen=True, eq=False)
class Forms:
    """`uu`, `uw`, `ww` are `(P, M, M)`; `xu`, `xw` the rows of D u_i, D w_i that belong to x, `(P, M, n)`."""

    uu: Tensor
    uw: Tensor
    ww: Tensor
    xu: Tensor
    xw: Tensor
    xx: Tensor
    vd: Tensor

    @classmethod
    def of(cls, system: System, d: Tensor) -> Forms:
        """All forms of D, `(P, N, N)`."""
        n = system.inputs
        low, high = system.lower[:, :, None], system.upper[:, :, None]
        vd = system.pre(d)
        z, zz = d[:, n:], d[:, n:, n:]
        vz, vv = vd[:, :, n:], system.pre(vd.mT)
        xu = z[:, :, :n] - low * vd[:, :, :n] if system.is_shifted else z[:, :, :n]
        xw = z[:, :, :n] - high * vd[:, :, :n]
        cross = high * vz
        ww = zz - cross - cross.mT + high * vv * high.mT
        if not system.is_shifted:
            return cls(zz, zz - cross.mT, ww, xu, xw, d[:, :n, :n], vd)
        left = low * vz
        uu = zz - left - left.mT + low * vv * low.mT
        return cls(uu, zz - left - cross.mT + low * vv * high.mT, ww, xu, xw, d[:, :n, :n], vd)

    def against_constraints(self, system: System) -> tuple[Tensor, Tensor]:
        """<E_x, D> and <A_k, D> of every problem."""
        each = system.per_multiplier(2.0 * self.uw.diagonal(dim1=1, dim2=2))
        return system.total(trace(self.xx)), system.total(each)


def trace(d: Tensor) -> Tensor:
    """The trace of every matrix, `(P, n, n)` -> `(P,)`."""
    return d.diagonal(dim1=1, dim2=2).sum(1)
