"""Best-first branch and bound over parts of the domain, anytime: the largest bound of open and settled parts holds."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...deadline import NEVER, Deadline, Laps
from ...problem import Details
from .narrowing import Narrowing
from .part import Parts
from .points import LAST_STEPS, Points
from .programs import Programs

BATCH, NUMBERS = 128, 2**23
"""Parts that are halved together, and numbers of one of their matrices."""
FIRST_STEPS, STEPS = 300, 12
"""Of Adam for the root's multipliers, and for those of every part."""
FEW_INPUTS, FEW_OPEN = 6, 12
"""Boxes of so few inputs are halved, as long as more neurons than that are open."""


@dataclass(eq=False)
class Search:
    """Until the bound is within `gap`, relatively, of what is attained."""

    narrowing: Narrowing
    programs: Programs
    points: Points
    root: Parts
    gap: float
    is_box: bool

    def __post_init__(self) -> None:
        self.settled, self.counts = 0.0, {"split": 0, "empty": 0, "outbounded": 0, "leaves": 0}
        self._heap: list[tuple[float, int, Parts]] = []
        self._ticket = itertools.count()
        self._ceiling = math.inf
        self._keep(self.programs.bounded(self.programs.start(self.root), FIRST_STEPS), NEVER)

    @property
    def target(self) -> float:
        """Parts up to this bound need no more work."""
        return self.points.witness.value * (1.0 + self.gap)

    @property
    def upper(self) -> float:
        """Certified for the whole domain; it never rises."""
        open_ = -self._heap[0][0] if self._heap else 0.0
        self._ceiling = min(self._ceiling, max(open_, self.settled))
        return self._ceiling

    @property
    def finished(self) -> bool:
        """Whether nothing above the target is left."""
        return not self._heap or self.upper <= self.target

    def run(self, deadline: Deadline) -> Iterator[float]:
        """The bound after every step, until it is as low as asked for or time is over."""
        laps = Laps(deadline)
        while not self.finished and not laps.is_last():
            self.step(deadline)
            yield self.upper

    def step(self, deadline: Deadline) -> None:
        """Halve the parts with the largest bounds."""
        count = min(self._batch, len(self._heap))
        parts = Parts.joined([heapq.heappop(self._heap)[2] for _ in range(count)])
        parts = self._split(parts)
        parts, empty = self.narrowing.ranges(parts)
        self.counts["empty"] += int(empty.sum())
        parts = parts.take(~empty)
        if len(parts):
            parts = self.points.moved(parts)
            self.points.look(parts, deadline)
            self._keep(self.programs.bounded(parts, STEPS), deadline)

    def details(self) -> Details:
        """Counts for the report."""
        return {"parts": len(self._heap), **self.counts}

    @property
    def _batch(self) -> int:
        folded = self.programs.folded
        return max(1, min(BATCH, NUMBERS // (folded.count * (folded.inputs + 2 * folded.count))))

    def _keep(self, parts: Parts, deadline: Deadline) -> None:
        """Parts that may raise the bound stay open while they can be halved."""
        low, high = self.programs.kinks.slopes(parts.lower, parts.upper)
        divisible = ((low < high) & self.programs.kinks.splits).any(1)
        last = ~divisible & (parts.bound > self.target)
        if bool(last.any()):
            self.points.look(self.points.moved(parts.take(last), LAST_STEPS), deadline)
        for index in range(len(parts)):
            bound, part = float(parts.bound[index]), parts.take([index])
            if bound <= self.target or not bool(divisible[index]):
                self.counts["outbounded" if bound <= self.target else "leaves"] += 1
                self.settled = max(self.settled, bound)
            else:
                heapq.heappush(self._heap, (-bound, next(self._ticket), part))

    def _split(self, parts: Parts) -> Parts:
        """Two halves for each."""
        self.counts["split"] += len(parts)
        low, high = self.programs.kinks.slopes(parts.lower, parts.upper)
        open_ = low < high
        by_input = (open_.sum(1) > FEW_OPEN) & self.is_box & (parts.from_.shape[1] <= FEW_INPUTS)
        halves = []
        if bool(by_input.any()):
            halves.append(self._halved(parts.take(by_input), open_[by_input]))
        if not bool(by_input.all()):
            halves.append(self._at_kinks(parts.take(~by_input), open_[~by_input]))
        return Parts.joined(halves)

    def _halved(self, parts: Parts, open_: Tensor) -> Parts:
        """Boxes in the middle of the input that moves open neurons most, over their own ranges."""
        known, length = self.narrowing.known, parts.to - parts.from_
        weight = torch.where(open_, 1.0 / (parts.upper - parts.lower).clamp(min=1e-300), 0.0)
        moves = (weight @ torch.maximum(known.below.x.abs(), known.above.x.abs())) * length
        chosen = torch.where(moves > 0, moves, length * 1e-300).argmax(1, keepdim=True)
        middle = (parts.from_ / 2 + parts.to / 2).gather(1, chosen)
        first = replace(parts, to=parts.to.scatter(1, chosen, middle))
        second = replace(parts, from_=parts.from_.scatter(1, chosen, middle))
        return Parts.joined([first, second])

    def _at_kinks(self, parts: Parts, open_: Tensor) -> Parts:
        """At the kink of the neuron that takes part most in the worst direction."""
        kinks = self.programs.kinks
        score = torch.where(open_ & kinks.splits, parts.score.clamp(min=0.0), -1.0)
        chosen = score.argmax(1, keepdim=True)
        at = kinks.at.expand(len(parts), -1).gather(1, chosen)
        below = replace(
            parts,
            most=parts.most.scatter(1, chosen, at),
            upper=parts.upper.scatter(1, chosen, torch.minimum(at, parts.upper.gather(1, chosen))),
        )
        above = replace(
            parts,
            least=parts.least.scatter(1, chosen, at),
            lower=parts.lower.scatter(1, chosen, torch.maximum(at, parts.lower.gather(1, chosen))),
        )
        return Parts.joined([below, above])
