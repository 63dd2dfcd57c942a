"""What a method for plain chains finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Found:
    """A strictly feasible rho and t `(M,)`; `optimum` bounds the least rho from below, to rounding.

    `energy` `(N,)` is what the worst direction has in every variable, that of the input being one in all.
    """

    rho: float
    t: Tensor
    energy: Tensor
    optimum: float
    iterations: int

    @property
    def gap(self) -> float:
        """Relative distance of rho to the least one, at most."""
        return (self.rho - self.optimum) / self.rho


class Progress(Protocol):
    """What there is to tell after an iteration: one number each, or a tensor of one."""

    @property
    def rho(self) -> Tensor | float:
        """The best so far."""

    @property
    def gap(self) -> Tensor | float:
        """Relative distance to the least one, at most."""


Watch = Callable[[Progress], bool]
"""Called after every iteration; True stops."""
