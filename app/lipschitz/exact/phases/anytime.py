"""What the searches for the exact constant share: a bracket that is valid whenever they are stopped."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from ...problem import Details
from .incumbent import Incumbent


@dataclass
class Anytime(ABC):
    """The incumbent and the largest bound among closed parts, `settled`; `gap` is the relative gap asked for."""

    incumbent: Incumbent
    gap: float
    settled: float = field(default=0.0, init=False)

    @abstractmethod
    def step(self) -> None:
        """Split some open parts; must not be called when `finished`."""

    @property
    @abstractmethod
    def remaining(self) -> float | None:
        """The largest bound among open parts; None where none is left."""

    @abstractmethod
    def details(self) -> Details:
        """Counts for the report."""

    @property
    def upper(self) -> float:
        """Certified: every reachable pattern is in an open part, a settled one, or at most the attained slope."""
        return max(self.remaining or 0.0, self.settled, self.incumbent.value)

    @property
    def target(self) -> float:
        """Bounds up to here need no more work."""
        return self.incumbent.value * (1.0 + self.gap)

    @property
    def finished(self) -> bool:
        """Whether the bracket is as narrow as asked for, or nothing is left to split."""
        return self.remaining is None or self.upper <= self.target
