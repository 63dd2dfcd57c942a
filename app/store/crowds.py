"""How many jobs start before one of a tenant's, if none comes and none ends: the order of `line.py` in closed form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

PHASES = 10
"""Above every priority."""


@dataclass(frozen=True)
class Crowd:
    """Waiting jobs of one tenant and priority; how many of the tenant's jobs run, and when one was last taken."""

    tenant: str
    priority: int
    number: int
    oldest: float
    running: int
    served_at: float


@dataclass(frozen=True)
class _Start:
    """A crowd when its first job is taken: how many of the tenant's jobs run by then, and what decides among equals."""

    crowd: Crowd
    level: int
    tie: tuple[Any, ...]

    def before(self, priority: int, level: int, tie: tuple[Any, ...]) -> int:
        """How many of the crowd start before a job of that priority, of a tenant with `level` running jobs by then."""
        if self.crowd.priority != priority:
            return self.crowd.number if self.crowd.priority > priority else 0
        return min(max(level - self.level + (self.tie < tie), 0), self.crowd.number)


def ahead(crowds: Sequence[Crowd], tenant: str, place: int) -> int:
    """What starts before the tenant's job that `place` others of its own precede. The highest priority comes first."""
    starts = list(_starts(crowds))
    left = place
    for own in (start for start in starts if start.crowd.tenant == tenant):
        if left < own.crowd.number:
            others = (start for start in starts if start.crowd.tenant != tenant)
            return place + sum(other.before(own.crowd.priority, own.level + left, own.tie) for other in others)
        left -= own.crowd.number
    return place  # they were taken while the crowds were counted


def _starts(crowds: Sequence[Crowd]) -> Iterator[_Start]:
    """Among equals a tenant that began with more running jobs was taken less lately; then its state before decides."""
    taken: dict[str, int] = {}
    states: dict[str, tuple[Any, ...]] = {}
    for crowd in crowds:
        tenant = crowd.tenant
        level = crowd.running + taken.get(tenant, 0)
        tie = (-level, states.get(tenant, (0, crowd.served_at, crowd.oldest)))
        yield _Start(crowd, level, tie)
        taken[tenant] = taken.get(tenant, 0) + crowd.number
        states[tenant] = (PHASES - crowd.priority, tie)
