"""A batch of parts of the domain: conditions on some neurons' arguments and on the input, and what follows from them.

The parts of a search cover the domain, since a part is only ever halved: at a kink, v <= k or v >= k, or at the middle
of an input's range. On a domain with an interior the constant is the largest ||J(x)|| over almost all x, so the largest
bound of all parts is one for the whole.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Parts:
    """P parts. They are defined by `least` <= v <= `most`, `(P, M)`, infinite where nothing is asked, and by the box
    `from_` <= x <= `to`, `(P, n)`; `lower` and `upper`, `(P, M)`, are proved ranges of v there.

    `bound` `(P,)` is a certified bound of ||J||; `t` `(P, M)` and `weights` `(P, n')` are the multipliers behind it,
    `score` `(P, M)` is how much each neuron takes part in the worst direction, and `point` `(P, n)` lies in the domain,
    hopefully in the part.
    """

    least: Tensor
    most: Tensor
    from_: Tensor
    to: Tensor
    lower: Tensor
    upper: Tensor
    bound: Tensor
    t: Tensor
    weights: Tensor
    score: Tensor
    point: Tensor

    def __len__(self) -> int:
        return len(self.bound)

    def take(self, index: Tensor | list[int]) -> Parts:
        return Parts(*(getattr(self, one.name)[index] for one in fields(self)))

    @classmethod
    def joined(cls, parts: list[Parts]) -> Parts:
        return cls(*(torch.cat([getattr(one, field.name) for one in parts]) for field in fields(cls)))
