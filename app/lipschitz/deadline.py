"""When work has to end: one object that every loop of the library asks, from a job's budget down to one matrix.

A loop that holds a result whenever it is stopped looks at `passed`. One that has none before its end calls `check`,
which raises `OutOfTime`; whoever knows something cheaper catches it. A single call into linear algebra cannot be
stopped: it is only begun if `fits` predicts that it ends in time, from a rate measured on this machine as it is.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from .pace import Pace

Clock = Callable[[], float]
"""Seconds that only grow."""


class OutOfTime(Exception):
    """Work without a partial result was given up."""


@dataclass(frozen=True)
class Deadline:
    """A moment of `clock`; infinitely late by default. `pace` predicts how long work takes."""

    end: float = math.inf
    clock: Clock = field(default=time.monotonic, compare=False)
    pace: Pace = field(default_factory=Pace, compare=False, repr=False)

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """So many seconds from now."""
        return cls(time.monotonic() + seconds)

    @property
    def left(self) -> float:
        """Seconds until then, 0 afterwards."""
        return max(self.end - self.clock(), 0.0)

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return self.clock() >= self.end

    def check(self) -> None:
        """OutOfTime once it is over."""
        if self.passed:
            raise OutOfTime

    def within(self, seconds: float) -> Deadline:
        """This one, or so many seconds from now if that is sooner."""
        return replace(self, end=min(self.end, self.clock() + seconds))

    def share(self, part: float) -> Deadline:
        """The end of the first `part`, 0 to 1, of the time that is left."""
        return self if math.isinf(self.end) else self.within(part * self.left)

    def before(self, seconds: float) -> Deadline:
        """So many seconds sooner: the rest is for what comes after."""
        return replace(self, end=self.end - seconds)

    def fits(self, work: float) -> bool:
        """Whether so many multiplications of matrices are likely to end in time."""
        left = self.left
        return left > 0.0 and (math.isinf(left) or self.pace.seconds(work) <= left)

    def begin(self, work: float) -> None:
        """OutOfTime unless so many multiplications fit."""
        if not self.fits(work):
            raise OutOfTime


NEVER = Deadline()
"""No end."""
SPENT = Deadline(-math.inf)
"""Over from the start: only what is always done is done."""


class Laps:
    """How long the rounds of a loop take, so that none is begun that would end too late.

    `reserve` multiplications are to come after the loop.
    """

    def __init__(self, deadline: Deadline, reserve: float = 0.0) -> None:
        self._deadline, self._begun, self._longest = deadline, deadline.clock(), 0.0
        self._reserve = deadline.pace.seconds(reserve) if math.isfinite(deadline.end) else 0.0

    def is_last(self) -> bool:
        """Call after every round: whether the time does not suffice for one more."""
        now = self._deadline.clock()
        self._longest, self._begun = max(now - self._begun, 0.5 * self._longest), now
        return now + self._longest + self._reserve >= self._deadline.end
