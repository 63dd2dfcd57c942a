"""A bound of wide pairs by one eigenvalue: the pair's semidefinite bound without a matrix of the hidden width.

Let c be the middle and r half the length of the slopes' range, so s = c + r t with |t| <= 1; M = A diag(c) B and
Z = A diag(r). For unit vectors x, u and any e > 0

    u^T (M + Z diag(t) B) x  <=  u^T M x + |Z^T u / e|^2 / 2 + |e B x|^2 / 2  <=  lambda_max(K),
    K = [[(eB)^T eB, M^T], [M, (Z/e) (Z/e)^T]].

The least value over e is the two-layer LipSDP [F19] of the pair; any e is a certificate. Gradient steps on log e follow
the largest eigenvalues, which come from a subspace that is carried from step to step.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...deadline import NEVER, Deadline, OutOfTime
from ...operators.gram import MARGIN, deterministic_start, proved_eigenvalue, top_pair, verified_level
from ...operators.rounding import UNIT, gamma, up_add, up_mul, widened
from ...pace import CHOLESKY
from .pair import Pair

_ABOVE = 1.0 + 4.0 * UNIT
_STEPS = 300
_RATE = 0.05
_PROGRESS, _PATIENCE = 1e-5, 20
"""Steps end after so many that do not lower the eigenvalue by this share."""
_SUBSPACE = 24
_SOFTNESS = 3e-3
"""Eigenvalues within this share of the largest count in the gradient."""


def weighted_bound(pair: Pair, deadline: Deadline = NEVER) -> tuple[float, Tensor]:
    """Certified bound of the maximum, for the best weights met by the deadline; infinite where nothing is proved.

    With the multipliers e^2 / r that it rests on, `(n,)`.
    """
    centre = 0.5 * pair.lower + 0.5 * pair.upper
    radius = torch.maximum(pair.upper - centre, centre - pair.lower) * _ABOVE
    matrix, spread = pair.matrices(centre[None])[0], pair.outer * radius
    weights = _minimised(pair, matrix, spread, deadline)
    multipliers = pair.multipliers(weights.square() / radius, pair.upper - pair.lower)
    try:
        return _proved(pair, matrix, spread, weights, deadline), multipliers
    except OutOfTime:
        return math.inf, multipliers


def _proved(pair: Pair, matrix: Tensor, spread: Tensor, weights: Tensor, deadline: Deadline) -> float:
    """The largest eigenvalue for these weights, by a Cholesky factorisation; entries are off by gamma_{n+8} at most."""
    right, left = weights[:, None] * pair.inner, spread / weights
    whole = torch.cat([torch.cat([right.mT @ right, matrix.mT], 1), torch.cat([matrix, left @ left.mT], 1)])
    squares = float(right.square().sum() + left.square().sum())
    lost = up_mul(gamma(pair.width + 8), widened(squares, right.numel() + left.numel()))
    deadline.begin(2.0 * CHOLESKY * float(len(whole)) ** 3)
    level = verified_level(whole[None], top_pair(whole, deadline)[0] * (1.0 + MARGIN), deadline)
    return proved_eigenvalue(level, len(whole), up_add(lost, pair.rounding), hermitian=False)


def _minimised(pair: Pair, matrix: Tensor, spread: Tensor, deadline: Deadline) -> Tensor:
    """Weights e `(n,)` by Adam on log e, from those that balance ||Z_j / e_j|| and ||e_j B_j||."""
    tiny = torch.finfo(torch.float64).tiny ** 0.25
    columns, rows = torch.linalg.vector_norm(spread, dim=0), torch.linalg.vector_norm(pair.inner, dim=1)
    logs = 0.5 * torch.log(columns.clamp(min=tiny) / rows.clamp(min=tiny))
    adam = torch.optim.Adam([logs], lr=_RATE)
    best, least, since = logs.clone(), math.inf, 0
    basis = _start(sum(matrix.shape), logs)
    for step in range(_STEPS):
        top, logs.grad, basis = _steepest(pair.inner, matrix, spread, logs.exp(), basis=basis, rounds=2 if step else 8)
        since = 0 if top < least * (1.0 - _PROGRESS) else since + 1
        if top < least:
            best, least = logs.clone(), top
        if since > _PATIENCE or deadline.passed:
            break
        adam.step()
    return best.exp()


def _start(size: int, like: Tensor) -> Tensor:
    columns = min(_SUBSPACE, size)
    return deterministic_start(size * columns, like).reshape(size, columns)


def _steepest(
    inner: Tensor, matrix: Tensor, spread: Tensor, weights: Tensor, *, basis: Tensor, rounds: int
) -> tuple[float, Tensor, Tensor]:
    """The largest eigenvalue, the gradient of its logarithm in log e, and the subspace, by subspace iteration."""
    for _ in range(rounds):
        basis = torch.linalg.qr(basis)[0]
        x, u = basis.split([inner.shape[1], len(matrix)])
        before, after = weights[:, None] * (inner @ x), (spread.mT @ u) / weights[:, None]
        image = torch.cat(
            [inner.mT @ (weights[:, None] * before) + matrix.mT @ u, matrix @ x + spread @ (after / weights[:, None])]
        )
        values, turn = torch.linalg.eigh(basis.mT @ image)
        basis = image
    top = float(values[-1])
    share = torch.softmax((values / top - 1.0) / _SOFTNESS, 0)
    gradient = ((before @ turn).square() - (after @ turn).square()) @ share / top
    return top, gradient, basis
