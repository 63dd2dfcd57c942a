"""The power method of AutoLip, kept as its paper states it: an estimate from below, never a bound."""

from __future__ import annotations

import torch

from .base import LinearOperator
from .gram import deterministic_start


def power_method(operator: LinearOperator, iterations: int = 100) -> float:
    """||A v|| after `iterations` steps v <- A^T A v / ||A^T A v|| (Virmaux & Scaman 2018, Algorithm 2).

    0 when an iterate vanishes. One step costs one product with A and one with A^T.
    """
    like = torch.empty(0, dtype=torch.float64, device=operator.device)
    v = deterministic_start(operator.in_size, like).unsqueeze(0)
    for _ in range(iterations):
        v = v / torch.linalg.vector_norm(v)
        v = operator.rmv(operator.mv(v))
        if not bool(v.any()):
            return 0.0
    return float(torch.linalg.vector_norm(operator.mv(v / torch.linalg.vector_norm(v))))
