"""The library calls that proofs are made of: how fast, and whether their rounding is what the proofs allow for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from app.lipschitz.operators import Convolution, norm
from app.lipschitz.operators.rounding import gamma
from benchmarks.gpu.measure import Place, Row

ROUNDS = 3


def cholesky(place: Place) -> Iterator[Row]:
    """Batches as in proofs for rows, nodes and frequencies, and one large matrix.

    The residual's share of gamma_{n+1} sqrt(m_ii m_jj), which bounds it for substitution in any order: above 1 the
    kernel does something else (it multiplies by inverses of blocks, say), and Rump's theorem does not speak of it.
    """
    shapes = place.pick([(8, 16), (1, 100)], [(10_000, 32), (1_000, 100), (64, 512), (1, 4_096)])
    for batch, n in shapes:
        matrix = _definite(batch, n).to(place.device)
        seconds, (factor, info) = _best(place, lambda matrix=matrix: torch.linalg.cholesky_ex(matrix))
        root = matrix.diagonal(dim1=1, dim2=2).sqrt()
        allowed = gamma(n + 1) * root[:, :, None] * root[:, None]
        share = float(((factor @ factor.mT - matrix).abs() / allowed).amax())
        yield {"case": f"Cholesky, {batch} of {n}", "device": place.device, "seconds": seconds,
               "value": float(factor.diagonal(dim1=1, dim2=2).sum()), "within": 1e-12, "ok": not bool(info.any()),
               "note": f"residual on {place.device}: {share:.2g} of what is allowed"}  # fmt: skip


def convolutions(place: Place) -> Iterator[Row]:
    """Certified norms of convolutions."""
    for channels, side in place.pick([(4, 8)], [(64, 56), (128, 28), (256, 14)]):
        kernel = torch.randn(channels, channels, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        shape = (1, channels, side, side)
        operator = Convolution(shape, shape, kernel.to(place.device), (1, 1), ((1, 1), (1, 1)), (1, 1))
        seconds, found = _best(place, lambda operator=operator: norm(operator, "2"), rounds=1)
        yield {"case": f"norm of a convolution, {channels} channels, {side} x {side}", "device": place.device,
               "seconds": seconds, "value": found.upper, "within": 1e-9, "ok": found.lower <= found.upper}  # fmt: skip


def _definite(batch: int, n: int) -> Tensor:
    """Condition numbers of about 1e6, the same numbers on every device."""
    generator = torch.Generator().manual_seed(n)
    a = torch.randn(batch, n, n, dtype=torch.float64, generator=generator)
    return a @ a.mT / n + 1e-6 * torch.eye(n, dtype=torch.float64)


def _best(place: Place, call: Callable[[], Any], rounds: int = ROUNDS) -> tuple[float, Any]:
    """Seconds of the fastest of some rounds after one that warms up, and what it gave."""
    found, taken = call(), []
    for _ in range(rounds):
        _await(place)
        begun = time.perf_counter()
        found = call()
        _await(place)
        taken.append(time.perf_counter() - begun)
    return min(taken), found


def _await(place: Place) -> None:
    if place.device == "cuda":
        torch.cuda.synchronize()
