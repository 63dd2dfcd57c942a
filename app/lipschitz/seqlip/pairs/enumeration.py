"""All vertices of a pair's box: the exact maximum, proved by one Cholesky factorisation a vertex."""

from __future__ import annotations

import torch
from torch import Tensor

from ...deadline import NEVER, Deadline
from ...operators.dense_norm import Bracket
from .pair import Pair

LARGEST = 16
"""Most free slopes: 65,536 vertices."""
_ENTRIES = 2**22
"""Most entries of the matrices of one batch."""


def enumerate_vertices(pair: Pair, deadline: Deadline = NEVER) -> Bracket:
    """The maximum enclosed to rounding; at most `LARGEST` free slopes. OutOfTime at the deadline."""
    codes = torch.arange(2 ** len(pair.free), device=pair.lower.device)
    batch = max(1, _ENTRIES // (pair.outer.shape[0] * (pair.inner.shape[1] + pair.width)))
    brackets = []
    for part in codes.split(batch):
        deadline.check()
        brackets.append(pair.bracket(_vertices(pair, part)))
    return Bracket(max(b.upper for b in brackets), max(b.lower for b in brackets))


def _vertices(pair: Pair, codes: Tensor) -> Tensor:
    """The vertices `(b, n)` whose free slopes are at the ends that the bits of `(b,)` say."""
    bits = (codes[:, None] >> torch.arange(len(pair.free), device=codes.device)) & 1
    slopes = pair.lower.repeat(len(codes), 1)
    slopes[:, pair.free] = torch.where(bits.bool(), pair.upper[pair.free], pair.lower[pair.free])
    return slopes
