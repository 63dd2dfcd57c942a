"""What became of the jobs of a run: read from the database itself, and from what the fake library wrote down."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import create_engine, select

from app.jobs.record import Kind
from app.jobs.states import TERMINAL
from app.store.tables import events, jobs


@dataclass(frozen=True)
class Account:
    """Jobs by how they ended, by their starts, and by how often their analysis was computed to its end."""

    outcomes: Counter[str]
    starts: Counter[int]
    computed: Counter[int]
    lost: int
    """Submissions that were accepted, or should have been, without a job that has an end."""
    doubled: int
    """Ends, and jobs, that a submission has more than one of."""


def account(database_url: str, seeds: set[int], ledger: Path) -> Account:
    """The account of the submissions with those seeds."""
    engine = create_engine(database_url)
    with engine.connect() as connection:
        rows = connection.execute(select(jobs).where(jobs.c.kind == Kind.ANALYZE)).all()
        told = connection.execute(select(events.c.job, events.c.data).where(events.c.type == "status")).all()
    engine.dispose()
    ours = {row.id: row for row in rows if row.request["seed"] in seeds}
    ended = Counter(row.request["seed"] for row in ours.values() if row.status in TERMINAL)
    ends = Counter(job for job, data in told if job in ours and data["status"] in TERMINAL)
    finished = Counter(int(seed) for seed in ledger.read_text().split()) if ledger.exists() else Counter()
    return Account(
        outcomes=Counter(_outcome(row.status, row.error) for row in ours.values()),
        starts=Counter(row.attempt for row in ours.values()),
        computed=Counter(finished[seed] for seed in seeds),
        lost=len(seeds - set(ended)),
        doubled=sum(n - 1 for counts in (ended, ends) for n in counts.values()),
    )


def _outcome(status: str, error: dict[str, str] | None) -> str:
    return status if error is None else f"{status} ({error['type'].rsplit(':', 1)[-1]})"


def shown(counts: Counter[str] | Counter[int]) -> str:
    """`value: count` of each, the smallest value first."""
    return ", ".join(f"{value}: {count}" for value, count in sorted(counts.items(), key=lambda pair: str(pair[0])))
