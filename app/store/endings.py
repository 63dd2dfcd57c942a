"""SQL on the ends of jobs, for those who follow them: the numbers of events only grow."""

from __future__ import annotations

from sqlalchemy import RowMapping, func, select

from .database import Database
from .tables import events, jobs

SHOWN = (
    jobs.c.id, jobs.c.status, jobs.c.methods, jobs.c.cached, jobs.c.created_at, jobs.c.started_at, jobs.c.finished_at,
)  # fmt: skip


class EndingRepository:
    """One method a query."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def newest_event(self) -> int:
        """The number of the newest event, 0 before the first."""
        with self._database.read() as connection:
            return connection.scalar(select(func.max(events.c.id))) or 0

    def ended_since(self, event: int, kind: str) -> list[RowMapping]:
        """Jobs of that kind that are over, and had a change of status after the event of that number."""
        changed = select(events.c.job).where(events.c.id > event, events.c.type == "status")
        query = select(*SHOWN).where(jobs.c.id.in_(changed), jobs.c.kind == kind, jobs.c.finished_at.is_not(None))
        with self._database.read() as connection:
            return list(connection.execute(query).mappings())
