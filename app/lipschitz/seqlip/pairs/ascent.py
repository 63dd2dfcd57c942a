"""Sign ascent: max of x^T A diag(s) B y over unit x, y and slopes s, one block of variables after the other.

For given x and y the best slopes are s_j = u_j where (A^T x)_j (B y)_j > 0 and l_j elsewhere; for given slopes x
and y take a step of the power method. No step lowers the value, and all starts advance in one batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...deadline import NEVER, Deadline
from .pair import Pair

STEPS = 200
_FINALISTS = 4


def starts(pair: Pair, count: int, generator: torch.Generator) -> Tensor:
    """The steepest vertex and `count - 1` random ones, `(count, n)`; the generator is the CPU's."""
    coins = torch.rand(count, pair.width, dtype=torch.float64, generator=generator, device="cpu") < 0.5
    slopes = torch.where(coins.to(pair.lower.device), pair.lower, pair.upper)
    slopes[0] = pair.steepest()
    return slopes


def ascend(pair: Pair, slopes: Tensor, steps: int = STEPS, deadline: Deadline = NEVER) -> Tensor:
    """The vertices `(b, n)` that the ascents from slopes `(b, n)` end at, or have reached at the deadline."""
    y = _top_right(pair, slopes)[0]
    for _ in range(steps):
        x = _unit((slopes * (y @ pair.inner.mT)) @ pair.outer.mT)[0]
        pulled = x @ pair.outer
        chosen = torch.where(pulled * (y @ pair.inner.mT) > 0, pair.upper, pair.lower)
        still, slopes = bool((chosen == slopes).all()), chosen
        following = _unit((slopes * pulled) @ pair.inner)[0]
        if (still and bool(((following - y).abs() < 1e-6).all())) or deadline.passed:
            break
        y = following
    return slopes


def best(pair: Pair, slopes: Tensor) -> Tensor:
    """The row of `(b, n)` with the largest norm, exactly among those that power steps put first."""
    distinct = torch.unique(slopes, dim=0)
    if len(distinct) > _FINALISTS:
        distinct = distinct[torch.topk(_top_right(pair, distinct)[1], _FINALISTS).indices]
    highest: Tensor = distinct[int(pair.values(distinct).argmax())]
    return highest


def _top_right(pair: Pair, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Roughly the top right singular vectors, `(b, k)`, and the norms `(b,)`: some power steps."""
    steps = torch.arange(1, slopes.shape[0] * pair.inner.shape[1] + 1, dtype=torch.float64, device=slopes.device)
    y = torch.sin(steps.square()).reshape(slopes.shape[0], -1)
    for _ in range(8):
        x = _unit((slopes * (y @ pair.inner.mT)) @ pair.outer.mT)[0]
        y, lengths = _unit((slopes * (x @ pair.outer)) @ pair.inner)
    return y, lengths


def _unit(rows: Tensor) -> tuple[Tensor, Tensor]:
    lengths = torch.linalg.vector_norm(rows, dim=1)
    return rows / lengths.clamp(min=torch.finfo(torch.float64).tiny)[:, None], lengths
