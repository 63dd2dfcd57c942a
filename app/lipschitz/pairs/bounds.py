"""The semidefinite bound of a pair over boxes of slopes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from app.lipschitz.pairs.pair import Pair
from app.lipschitz.sdp.chain import slope_bounds

BoxBounds = Callable[[Tensor, Tensor], Tensor]
"""(lower, upper), boxes `(b, n)` within the pair's own -> certified bounds `(b,)`."""

_ENTRIES = 2**24
"""Entries of the matrices of one batch of semidefinite problems."""
_SECONDS = 4e-8
"""Of one semidefinite problem on one core, about, over the cube of its size."""


def semidefinite_seconds(pair: Pair) -> float:
    """Roughly what one semidefinite bound costs."""
    return _SECONDS * (0.5 * sum(pair.narrow().inner.shape)) ** 3


def semidefinite_bounds(pair: Pair, gap: float) -> BoxBounds:
    """The two-layer LipSDP of every box [F19], to a relative `gap` of its optimum; infinite where it proves nothing."""
    pair = pair.narrow()
    size = max(1, _ENTRIES // sum(pair.inner.shape) ** 2)

    def bounds(lower: Tensor, upper: Tensor) -> Tensor:
        boxes = zip(lower.split(size), upper.split(size), strict=True)
        return torch.cat([slope_bounds([pair.inner, pair.outer], [low], [high], gap=gap) for low, high in boxes])

    return bounds
