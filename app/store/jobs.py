"""All SQL on jobs. Every change of status is one conditional UPDATE, with an event in its transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    and_,
    delete,
    func,
    insert,
    literal,
    select,
    tuple_,
    update,
)

from app.store.clock import now
from app.store.database import Database
from app.store.tables import datasets, events, jobs, models, results


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
        """The condition that the hold is not lost."""
        return and_(jobs.c.id == self.job, jobs.c.owner == self.owner, jobs.c.attempt == self.attempt)


@dataclass(frozen=True)
class Filter:
    """What a listing asks for; None leaves a field open."""

    status: str | None = None
    model: str | None = None
    method: str | None = None
    created_after: float | None = None


class JobRepository:
    """One method a query."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert(self, values: dict[str, Any]) -> RowMapping:
        """Add a queued job."""
        with self._database.write() as connection:
            return _inserted(connection, values)

    def insert_analysis(self, values: dict[str, Any]) -> RowMapping | None:
        """Add a queued job if its model, and its data set if it has one, exist."""
        with self._database.write() as connection:
            return _inserted(connection, values) if _has_files(connection, values) else None

    def insert_copy(self, values: dict[str, Any], source: str) -> RowMapping | None:
        """Add a finished job with a copy of the result of job `source`, if that and the job's files are there."""
        copied = [results.c.result, results.c.witness, results.c.certificate]
        copy = select(literal(values["id"]), *copied).where(results.c.job == source)
        with self._database.write() as connection:
            is_there = connection.scalar(select(results.c.job).where(results.c.job == source))
            if not (is_there and _has_files(connection, values)):
                return None
            row = _inserted(connection, values | {"started_at": now(), "finished_at": now()})
            connection.execute(insert(results).from_select(["job", *copied], copy))
            return row

    def has_model(self, sha256: str) -> bool:
        """Whether there is a model of that digest."""
        with self._database.read() as connection:
            return connection.scalar(select(models.c.id).where(models.c.id == sha256)) is not None

    def get(self, job_id: str) -> RowMapping | None:
        """The job, without its result."""
        with self._database.read() as connection:
            return connection.execute(select(jobs).where(jobs.c.id == job_id)).mappings().first()

    def result(self, job_id: str) -> Any | None:
        """The job's result, None before it succeeded."""
        with self._database.read() as connection:
            return connection.scalar(select(results.c.result).where(results.c.job == job_id))

    def witness(self, job_id: str) -> bytes | None:
        """The job's witness file, None where there is none."""
        with self._database.read() as connection:
            return connection.scalar(select(results.c.witness).where(results.c.job == job_id))

    def certificate(self, job_id: str) -> Any | None:
        """The job's certificate, None where there is none."""
        with self._database.read() as connection:
            return connection.scalar(select(results.c.certificate).where(results.c.job == job_id))

    def page(self, kind: str, wanted: Filter, limit: int, after: tuple[float, str] | None) -> list[RowMapping]:
        """Jobs of one kind, newest first, older than the position `(created_at, id)`."""
        query = select(jobs).where(jobs.c.kind == kind, *_conditions(wanted))
        if after is not None:
            query = query.where(tuple_(jobs.c.created_at, jobs.c.id) < after)
        query = query.order_by(jobs.c.created_at.desc(), jobs.c.id.desc()).limit(limit)
        with self._database.read() as connection:
            return list(connection.execute(query).mappings())

    def finished_like(self, cache_key: str, status: str) -> str | None:
        """The newest job of that status that answered the same question."""
        query = select(jobs.c.id).where(jobs.c.cache_key == cache_key, jobs.c.status == status)
        with self._database.read() as connection:
            return connection.scalar(query.order_by(jobs.c.created_at.desc()).limit(1))

    def next_in(self, status: str, kinds: Sequence[str]) -> str | None:
        """The job to run next: highest priority, then oldest."""
        query = select(jobs.c.id).where(jobs.c.status == status, jobs.c.kind.in_(kinds))
        query = query.order_by(jobs.c.priority.desc(), jobs.c.created_at, jobs.c.id).limit(1)
        with self._database.read() as connection:
            return connection.scalar(query)

    def claim(self, job_id: str, move: Move, owner: str, lease_s: float, **where: str) -> RowMapping | None:
        """Take the job under a lease; None when another supervisor was faster. `where`: worker and device."""
        values = {
            "owner": owner,
            "lease_until": now() + lease_s,
            "attempt": jobs.c.attempt + 1,
            "started_at": now(),
            "progress": None,
            **where,
        }
        with self._database.write() as connection:
            return _move(connection, move, jobs.c.id == job_id, values)

    def beat(self, fence: Fence, lease_s: float) -> bool:
        """Prolong the lease; False when it is lost."""
        with self._database.write() as connection:
            query = update(jobs).where(fence.holds()).values(lease_until=now() + lease_s)
            return bool(connection.execute(query).rowcount)

    def held_status(self, fence: Fence) -> str | None:
        """The status of a job that is held, None when the hold is lost."""
        with self._database.read() as connection:
            return connection.scalar(select(jobs.c.status).where(fence.holds()))

    def report(self, fence: Fence, progress: dict[str, Any]) -> None:
        """Store how far the job has come."""
        with self._database.write() as connection:
            if connection.execute(update(jobs).where(fence.holds()).values(progress=progress)).rowcount:
                _record(connection, fence.job, "progress", progress)

    def change(self, job_id: str, move: Move) -> RowMapping | None:
        """Change the status of a job that goes on; None when it was in none of the move's sources."""
        with self._database.write() as connection:
            return _move(connection, move, jobs.c.id == job_id, {})

    def close(self, job_id: str, move: Move) -> RowMapping | None:
        """Bring a job that nobody holds to its end."""
        with self._database.write() as connection:
            return _move(connection, move, jobs.c.id == job_id, {"finished_at": now()})

    def release(self, fence: Fence, move: Move, losses: int) -> RowMapping | None:
        """Put a job back into the queue, or to its end, when its supervisor goes or is gone."""
        free = {"owner": None, "lease_until": None, "worker": None, "device": None, "started_at": None}
        with self._database.write() as connection:
            return _move(connection, move, fence.holds(), free | {"losses": jobs.c.losses + losses})

    def finish(
        self,
        fence: Fence,
        move: Move,
        *,
        error: dict[str, Any] | None = None,
        result: dict[str, Any] | None = None,
        witness: bytes | None = None,
        certificate: dict[str, Any] | None = None,
    ) -> RowMapping | None:
        """Store the outcome of a held job; None when the hold is lost or the job is in another status."""
        values = {
            "finished_at": now(),
            "lease_until": None,
            "error": error,
            "has_witness": witness is not None,
            "has_certificate": certificate is not None,
        }
        with self._database.write() as connection:
            row = _move(connection, move, fence.holds(), values)
            if row is not None and result is not None:
                found = {"result": result, "witness": witness, "certificate": certificate}
                connection.execute(insert(results).values(job=fence.job, **found))
            return row

    def held(self, statuses: Collection[str]) -> list[RowMapping]:
        """Every job in those statuses with its holder, and whether the lease is over."""
        expired = (jobs.c.lease_until < now()).label("expired")
        query = select(jobs.c.id, jobs.c.owner, jobs.c.attempt, jobs.c.losses, jobs.c.status, expired)
        with self._database.read() as connection:
            return list(connection.execute(query.where(jobs.c.status.in_(statuses))).mappings())

    def remove(self, job_id: str, statuses: Collection[str]) -> bool:
        """Delete a job that is in one of those statuses, with its result and events."""
        with self._database.write() as connection:
            query = delete(jobs).where(jobs.c.id == job_id, jobs.c.status.in_(statuses))
            return bool(connection.execute(query).rowcount)

    def purge(self, kind: str, statuses: Collection[str], age_s: float) -> None:
        """Delete jobs of that kind that have been over for `age_s` seconds."""
        old = (jobs.c.kind == kind, jobs.c.status.in_(statuses), jobs.c.finished_at < now() - age_s)
        with self._database.read() as connection:
            stale = connection.scalars(select(jobs.c.id).where(*old)).all()
        if stale:
            with self._database.write() as connection:
                connection.execute(delete(jobs).where(jobs.c.id.in_(stale)))

    def counts(self) -> dict[tuple[str, str], int]:
        """Number of jobs by kind and status."""
        query = select(jobs.c.kind, jobs.c.status, func.count()).group_by(jobs.c.kind, jobs.c.status)
        with self._database.read() as connection:
            return {(kind, status): count for kind, status, count in connection.execute(query)}

    def events(self, job_id: str, after: int, limit: int) -> list[RowMapping]:
        """What happened to the job after the event numbered `after`, in order."""
        query = select(events).where(events.c.job == job_id, events.c.id > after)
        with self._database.read() as connection:
            return list(connection.execute(query.order_by(events.c.id).limit(limit)).mappings())


def _has_files(connection: Connection, values: dict[str, Any]) -> bool:
    """Whether the job's model and data set exist; nobody can remove them before the transaction ends."""
    uses = [(models, values["model"])] + ([(datasets, values["dataset"])] if values["dataset"] else [])
    return all(
        connection.scalar(select(table.c.id).where(table.c.id == digest).with_for_update(read=True))
        for table, digest in uses
    )


def _inserted(connection: Connection, values: dict[str, Any]) -> RowMapping:
    query = insert(jobs).values(**values, created_at=now()).returning(jobs)
    row = connection.execute(query).mappings().one()
    _record(connection, row["id"], "status", {"status": row["status"]})
    return row


def _move(connection: Connection, move: Move, where: ColumnElement[bool], values: dict[str, Any]) -> RowMapping | None:
    query = update(jobs).where(where, jobs.c.status.in_(move.sources))
    changed = connection.execute(query.values(status=move.target, **values).returning(jobs)).mappings().first()
    if changed is not None:
        _record(connection, changed["id"], "status", {"status": move.target})
    return changed


def _record(connection: Connection, job_id: str, kind: str, data: dict[str, Any]) -> None:
    connection.execute(insert(events).values(job=job_id, at=now(), type=kind, data=data))


def _conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.status is not None:
        conditions.append(jobs.c.status == wanted.status)
    if wanted.model is not None:
        conditions.append(jobs.c.model == wanted.model)
    if wanted.created_after is not None:
        conditions.append(jobs.c.created_at > wanted.created_after)
    if wanted.method is not None:
        conditions.append(jobs.c.methods.contains(f",{wanted.method},", autoescape=True))
    return conditions
