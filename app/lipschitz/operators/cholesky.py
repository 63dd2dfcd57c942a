"""Which matrices have a Cholesky factor from which Rump's theorem follows, on whichever device they are.

The theorem needs |M - L L^H| <= gamma_{n+1} sqrt(m_ii m_jj), entry by entry; substitution in any order gives that. A
CPU's libraries substitute. A GPU's may multiply by inverses of blocks, of which nothing is known beforehand, so there
the residual is looked at: formed anew, it is off by as much as it may be, and the proofs allow for twice that.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .rounding import gamma


def factorises(matrix: Tensor) -> Tensor:
    """Of Hermitian `(b, n, n)`, read from the lower triangle: `(b,)`, false where the algorithm breaks down."""
    factor, info = torch.linalg.cholesky_ex(matrix)
    pivots = factor.diagonal(dim1=-2, dim2=-1).real
    sound: Tensor = (info == 0) & torch.isfinite(pivots).all(-1) & (pivots > 0).all(-1)
    return sound & is_factor(matrix, factor) if matrix.is_cuda else sound


def is_factor(matrix: Tensor, factor: Tensor) -> Tensor:
    """Whether L L^H is M but for what the rounding of substitution may amount to, `(b,)`; false for NaN."""
    n = matrix.shape[-1]
    diagonal = matrix.diagonal(dim1=-2, dim2=-1).real
    root = diagonal.clamp(min=0.0).sqrt()
    share = gamma((2 if matrix.is_complex() else 1) * (n + 1))
    allowed = share * root[..., :, None] * root[..., None, :]
    is_small = (factor @ factor.mH).sub_(matrix).abs() <= allowed
    near: Tensor = ~(~is_small).tril().flatten(-2).any(-1)
    return near & (diagonal > 0).all(-1)
