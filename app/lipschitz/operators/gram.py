"""The largest eigenvalue of Gram matrices: guessed by Lanczos, proved by a Cholesky factorisation.

For a level c above the guess, M = c I - G is factorised in floating point. If that succeeds, the exact
lambda_min(M) is at least -gamma_{n+1} / (1 - gamma_{n+1}) trace(M), hence lambda_max(G) <= c + that much.
S. Rump, Verification of positive definiteness, BIT 46 (2006), theorem 2.3 and the remark on any order of
evaluation. A guess that is too low makes the factorisation fail; it can never make the bound too small.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..deadline import NEVER, Deadline
from ..pace import CHOLESKY, EIGENVALUES
from .cholesky import factorises
from .rounding import UNIT, gamma, up_add, up_mul

MARGIN = 1e-11
"""A level lies this much above the guessed eigenvalue, relative."""
_ATTEMPTS = 14
_DIRECT = 200
"""Up to this size a full symmetric eigensolver is faster than Lanczos steps from Python."""
_CANDIDATES = 8
_BLOCK = 128
"""Rows of a Gram matrix at a time: half of it is mirrored instead of multiplied, and products stay large."""


def gram_matrix(a: Tensor) -> Tensor:
    """fl(A A^T) for real `(b, s, l)`: the lower triangle by blocks of rows, mirrored."""
    size = a.shape[1]
    if size <= _BLOCK or a.is_cuda:
        return a @ a.mT
    gram = a.new_empty(len(a), size, size)
    for start in range(0, size, _BLOCK):
        end = start + _BLOCK
        rows = a[:, start:end] @ a[:, :end].mT
        gram[:, start:end, :end] = rows
        gram[:, :start, start:end] = rows[:, :, :start].mT
    return gram


def deterministic_start(n: int, like: Tensor) -> Tensor:
    """A fixed vector `(n,)` without structure, so that no operator is met at a special angle."""
    steps = torch.arange(1, n + 1, dtype=torch.float64, device=like.device)
    return torch.sin(steps * steps).to(like.dtype)


def lanczos_pairs(gram: Tensor, *, max_steps: int = 200, deadline: Deadline = NEVER) -> tuple[Tensor, Tensor]:
    """Largest Ritz values `(b,)`, estimates from below, and their vectors `(b, n)`, of Hermitian `(b, n, n)`.

    Full reorthogonalisation; stops when the estimated error is in the twelfth digit, or at the deadline.
    """
    b, n, _ = gram.shape
    steps = min(max_steps, n)
    basis = gram.new_zeros(b, steps, n)
    tridiagonal = torch.zeros(b, steps, steps, dtype=torch.float64, device=gram.device)
    v = deterministic_start(n, gram).expand(b, n)
    v = v / torch.linalg.vector_norm(v, dim=1, keepdim=True)
    for k in range(steps):
        basis[:, k] = v
        w = torch.bmm(gram, v.unsqueeze(2))
        tridiagonal[:, k, k] = torch.sum(v.conj() * w.squeeze(2), dim=1).real
        known = basis[:, : k + 1]
        for _ in range(2):
            w = w - torch.bmm(known.mT, torch.bmm(known.conj(), w))
        beta = torch.linalg.vector_norm(w.squeeze(2), dim=1)
        if k % 8 == 7 or k == steps - 1:
            ritz, weights = torch.linalg.eigh(tridiagonal[:, : k + 1, : k + 1])
            if bool((_ritz_error(ritz, weights, beta) <= 1e-12 * ritz[:, -1]).all()) or deadline.passed:
                break
        if k + 1 < steps:
            beta, v = _next_vector(w, beta, known, tridiagonal[:, k, k])
            tridiagonal[:, k + 1, k] = tridiagonal[:, k, k + 1] = beta
    vectors = torch.bmm(basis[:, : k + 1].mT, weights[:, :, -1:].to(gram.dtype)).squeeze(2)
    return ritz[:, -1], vectors


def _next_vector(w: Tensor, beta: Tensor, known: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """(beta, w / beta); where w is nothing but rounding, 0 and a new direction orthogonal to the known ones."""
    v = w.squeeze(2) / beta.clamp(min=1e-290).unsqueeze(1)
    lost = beta <= 1e-13 * size.abs()
    if not bool(lost.any()):
        return beta, v
    n, k = known.shape[2], known.shape[1]
    fresh = torch.cos(torch.arange(1, n + 1, dtype=torch.float64, device=w.device).square() * (k + 1)).to(w.dtype)
    fresh = fresh.expand(len(w), n).unsqueeze(2)
    for _ in range(3):
        fresh = fresh - torch.bmm(known.mT, torch.bmm(known.conj(), fresh))
        fresh = fresh / torch.linalg.vector_norm(fresh, dim=1, keepdim=True).clamp(min=1e-290)
    return torch.where(lost, 0.0, beta), torch.where(lost[:, None], fresh.squeeze(2), v)


def _ritz_error(ritz: Tensor, weights: Tensor, beta: Tensor) -> Tensor:
    """Estimate of how far the largest Ritz values lie below: residual squared over the gap (Parlett, section 4.5)."""
    if ritz.shape[1] == 1:
        return beta
    residual = beta * weights[:, -1, -1].abs()
    return residual.square() / (ritz[:, -1] - ritz[:, -2]).clamp(min=1e-290)


def top_pair(gram: Tensor, deadline: Deadline = NEVER) -> tuple[float, Tensor]:
    """The largest eigenvalue of `(n, n)`, guessed from below, and a unit vector `(n,)` near its eigenvector."""
    if gram.shape[-1] <= _DIRECT:
        values, vectors = torch.linalg.eigh(gram)
        return float(values[-1]), vectors[:, -1]
    largest, rows = lanczos_pairs(gram.unsqueeze(0), deadline=deadline)
    return float(largest[0]), rows[0]


def ranking(gram: Tensor) -> Tensor:
    """Rough largest eigenvalues by a few power steps, `(b, n, n)` -> `(b,)`: only good for ranking."""
    v = deterministic_start(gram.shape[-1], gram).expand(gram.shape[0], -1).unsqueeze(2)
    growth = torch.zeros(gram.shape[0], dtype=torch.float64, device=gram.device)
    for _ in range(8):
        v = torch.bmm(gram, v)
        growth = torch.linalg.vector_norm(v, dim=1).squeeze(1)
        v = v / growth.clamp(min=1e-290)[:, None, None]
    return growth


def _peak(gram: Tensor, deadline: Deadline, *, exact: bool) -> float:
    if gram.shape[0] > _CANDIDATES:
        gram = gram[torch.topk(ranking(gram), _CANDIDATES).indices]
    if exact or gram.shape[-1] <= _DIRECT:
        deadline.begin(EIGENVALUES * len(gram) * gram.shape[-1] ** 3)
        return float(torch.linalg.eigvalsh(gram)[:, -1].max())
    return float(lanczos_pairs(gram, deadline=deadline)[0].max())


def has_factor(gram: Tensor, level: float) -> Tensor:
    """Which of level I - G have a Cholesky factor, for G of `(b, n, n)`: `(b,)`."""
    shifted = -gram
    shifted.diagonal(dim1=-2, dim2=-1).add_(level)
    return factorises(shifted)


def verified_level(gram: Tensor, level: float, deadline: Deadline = NEVER) -> float:
    """A level, at least `level`, for which level I - G has a Cholesky factor for every G of `(b, n, n)`.

    Infinity when no level within the last margin passes (the caller then keeps its other bounds).
    Levels only rise, so what passed for an earlier batch stays proved. OutOfTime where a step would end too late.
    """
    if gram.shape[-1] == 1:
        return max(level, float(gram.real.max()))
    pending = gram
    for attempt in range(_ATTEMPTS):
        if level > 0.0:
            deadline.begin(CHOLESKY * len(pending) * pending.shape[-1] ** 3)
            pending = pending[~has_factor(pending, level)]
        if pending.shape[0] == 0:
            return level
        # The first rounds meet new frequencies, not a wrong guess; only later ones need more room.
        margin = MARGIN * 10.0 ** max(0, attempt - 2)
        level = max(level, _peak(pending, deadline, exact=attempt > 0) * (1.0 + margin))
    return math.inf


def proved_eigenvalue(level: float, n: int, gram_error: float, *, hermitian: bool) -> float:
    """Upper bound of lambda_max of the exact Gram matrices whose computed twins passed at `level`.

    `gram_error` bounds ||computed - exact||_2. The gamma constants hold twice as many terms as the theorem
    asks for, because kernels may multiply by reciprocals; complex arithmetic costs another factor of two.
    The diagonal's subtraction is off by at most 2 u level, and trace(M) <= n (level + gram_error).
    """
    share = gamma((4 if hermitian else 2) * (n + 4))
    if not math.isfinite(level) or share >= 0.5:
        return math.inf
    trace = up_mul(float(n), up_add(level, gram_error))
    defect = up_mul(math.nextafter(share / (1.0 - share), math.inf), up_mul(trace, 1.0 + 2.0**-40))
    return up_add(up_add(level, up_mul(4.0 * UNIT, level)), up_add(defect, gram_error))
