"""Adam on the logarithms of multipliers, every part of a domain by itself."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

RATE, MOMENTUM = 0.15, (0.8, 0.95)
"""Adam's, for the logarithms of the multipliers."""


@dataclass(frozen=True, eq=False)
class Level:
    """What multipliers give, to rounding: N, C', B, S, Y and G of the module's text, all of a batch."""

    n: Tensor
    c: Tensor
    b: Tensor
    s: Tensor
    y: Tensor
    g: Tensor
    positive: Tensor


@dataclass
class Descent:
    """Adam on logarithms of multipliers, every part by itself; one that leaves the feasible set goes back to its best
    and strides less.
    """

    logs: list[Tensor]
    best: list[Tensor]
    level: Tensor
    stride: Tensor
    means: list[Tensor]
    squares: list[Tensor]
    count: int = 0

    @classmethod
    def begin(cls, logs: list[Tensor], first: Level) -> Descent:
        """At a known level."""
        level = torch.where(first.positive, first.g, torch.inf)
        means, squares = ([torch.zeros_like(one) for one in logs] for _ in range(2))
        moving = [one.clone().requires_grad_(True) for one in logs]
        return cls(moving, logs, level, torch.full_like(level, RATE), means, squares)

    def step(self, now: Level, grads: tuple[Tensor, ...]) -> None:
        """One step on, or back."""
        self.count += 1
        level, good = now.g.detach(), now.positive
        better = good & (level < self.level)
        self.level = torch.where(better, level, self.level)
        pairs = zip(self.logs, self.best, strict=True)
        self.best = [torch.where(better[:, None], one.detach(), old) for one, old in pairs]
        self.stride = torch.where(good, self.stride, 0.4 * self.stride)
        for k, grad in enumerate(grads):
            self._move(k, grad.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0) * good[:, None], good[:, None])

    def _move(self, k: int, grad: Tensor, good: Tensor) -> None:
        (one, two), mean, square = MOMENTUM, self.means[k], self.squares[k]
        mean.mul_(one).add_(grad, alpha=1 - one)
        square.mul_(two).addcmul_(grad, grad, value=1 - two)
        size = (square / (1 - two**self.count)).sqrt() + 1e-12
        move = self.stride[:, None] * (mean / (1 - one**self.count)) / size
        with torch.no_grad():
            self.logs[k].copy_(torch.where(good, self.logs[k] - move, self.best[k]))
        mean.mul_(good)
