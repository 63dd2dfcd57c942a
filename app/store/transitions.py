"""How a job changes its status: one conditional UPDATE, with an event in its transaction."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, func, insert, select, update

from ..contract.plain import Json
from .clock import now
from .deliveries import announce
from .tables import Values, events, jobs

EVENTS = "lipserve"
"""PostgreSQL channel that carries the id of every job to which something happens."""
QUEUE = "lipserve_queue"
"""PostgreSQL channel that carries the id of every job that begins to wait."""


@dataclass(frozen=True)
class Move:
    """A change of status that applies only to jobs in one of the `sources`."""

    sources: tuple[str, ...]
    target: str


@dataclass(frozen=True)
class Fence:
    """A supervisor's hold on a job: its writes apply only while owner and attempt are still its own."""

    job: str
    owner: str
    attempt: int

    def holds(self) -> ColumnElement[bool]:
        """The condition that the hold is neither lost nor over."""
        mine = and_(jobs.c.id == self.job, jobs.c.owner == self.owner, jobs.c.attempt == self.attempt)
        return and_(mine, jobs.c.lease_until.is_not(None))


def insert_job(connection: Connection, values: Values, waits: bool = True) -> RowMapping:
    """Add a job and its first event; `waits`: someone may take it."""
    row = connection.execute(insert(jobs).values(**values, created_at=now()).returning(jobs)).mappings().one()
    _record_status(connection, row, waits)
    return row


def move_job(connection: Connection, move: Move, where: ColumnElement[bool], values: Values) -> RowMapping | None:
    """Change one job's status; None when `where` or the move does not apply. What has an end never changes."""
    allowed = (jobs.c.status.in_(move.sources), jobs.c.finished_at.is_(None))
    query = update(jobs).where(where, *allowed).values(status=move.target, **values).returning(jobs)
    changed = connection.execute(query).mappings().first()
    if changed is not None:
        _record_status(connection, changed, changed["lease_until"] is None and changed["finished_at"] is None)
    return changed


def record_event(connection: Connection, job_id: str, kind: str, data: Json) -> None:
    """Write down what happened, and wake whoever waits for it once the transaction is through."""
    connection.execute(insert(events).values(job=job_id, at=now(), type=kind, data=data))
    _notify(connection, EVENTS, job_id)


def _record_status(connection: Connection, row: RowMapping, waits: bool) -> None:
    record_event(connection, row["id"], "status", {"status": row["status"]})
    announce(connection, row)
    if waits:
        _notify(connection, QUEUE, row["id"])


def _notify(connection: Connection, channel: str, job_id: str) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_notify(channel, job_id)))
