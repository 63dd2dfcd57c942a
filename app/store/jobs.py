"""All SQL on jobs, but what the sweeper asks. Every change of status is a move."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    RowMapping,
    delete,
    func,
    insert,
    literal,
    select,
    tuple_,
    update,
)

from app.contract.plain import Json
from app.store.admission import QueueTerms, bind, check_room, has_files, made_for
from app.store.clock import now
from app.store.crowds import ahead
from app.store.database import Database
from app.store.line import Wanted, crowds_in_line, is_line, next_in_line, own_line, take_turn
from app.store.tables import Values, events, jobs, models, results
from app.store.transitions import Fence, Move, insert_job, move_job, record_event


@dataclass(frozen=True)
class Filter:
    """What a listing asks for; None leaves a field open."""

    status: str | None = None
    model: str | None = None
    method: str | None = None
    created_after: float | None = None


class JobRepository:
    """One method a query."""

    def __init__(self, database: Database, retention_s: float | None = None) -> None:
        """`retention_s`: how long results stay after a job's end, None for ever."""
        self._database = database
        kept = None if retention_s is None else now() + retention_s
        self._ended: Json = {"finished_at": now(), "expires_at": kept}

    def insert(self, values: Values) -> RowMapping:
        """Add a queued job."""
        with self._database.write() as connection:
            return insert_job(connection, values)

    def insert_analysis(self, values: Values, terms: QueueTerms, key: str | None = None) -> RowMapping | None:
        """Add a queued job if its model, and its data set if it has one, exist.

        A job that was already made for the idempotency key is given instead. Raises QueueFull or QuotaExceeded.
        """
        with self._database.write() as connection:
            earlier = made_for(connection, values["tenant"], key)
            if earlier is not None:
                return earlier
            check_room(connection, values, terms)
            if not has_files(connection, values):
                return None
            row = insert_job(connection, values | {"start_by": now() + terms.wait_s})
            bind(connection, row, key)
            return row

    def insert_copy(self, values: Values, source: str, key: str | None = None) -> RowMapping | None:
        """Add a finished job with a copy of the result of job `source`, if that and the job's files are there.

        A job that was already made for the idempotency key is given instead.
        """
        copied = [results.c.result, results.c.witness, results.c.certificate]
        copy = select(literal(values["id"]), *copied).where(results.c.job == source)
        with self._database.write() as connection:
            earlier = made_for(connection, values["tenant"], key)
            if earlier is not None:
                return earlier
            is_there = connection.scalar(
                select(results.c.job).where(results.c.job == source).with_for_update(read=True)
            )
            if not (is_there and has_files(connection, values)):
                return None
            row = insert_job(connection, values | {"started_at": now(), **self._ended}, waits=False)
            connection.execute(insert(results).from_select(["job", *copied], copy))
            bind(connection, row, key)
            return row

    def model_size(self, tenant: str, sha256: str) -> int | None:
        """Bytes of the tenant's model of that digest, None where there is none."""
        query = select(models.c.size_bytes).where(models.c.tenant == tenant, models.c.id == sha256)
        with self._database.read() as connection:
            return connection.scalar(query)

    def get(self, tenant: str, job_id: str) -> RowMapping | None:
        """The tenant's job, without its result."""
        query = select(jobs).where(jobs.c.id == job_id, jobs.c.tenant == tenant)
        with self._database.read() as connection:
            return connection.execute(query).mappings().first()

    def result(self, job_id: str) -> Any | None:
        """The job's result, None before it succeeded."""
        with self._database.read() as connection:
            return connection.scalar(select(results.c.result).where(results.c.job == job_id))

    def brackets(self, ids: Collection[str]) -> dict[str, Json]:
        """The `upper` and `lower` values and the `verdict` of those jobs' results, without the rest of them."""
        upper, lower = (results.c.result[end, "value"].as_float() for end in ("upper", "lower"))
        query = select(results.c.job, upper, lower, results.c.result["verdict"].as_string())
        with self._database.read() as connection:
            rows = connection.execute(query.where(results.c.job.in_(ids))).all() if ids else []
        return {
            job: {"upper": {"value": high}, "lower": {"value": low}, "verdict": verdict}
            for job, high, low, verdict in rows
        }

    def witness(self, job_id: str) -> bytes | None:
        """The job's witness file, None where there is none."""
        with self._database.read() as connection:
            return connection.scalar(select(results.c.witness).where(results.c.job == job_id))

    def certificate(self, job_id: str) -> Any | None:
        """The job's certificate, None where there is none."""
        with self._database.read() as connection:
            return connection.scalar(select(results.c.certificate).where(results.c.job == job_id))

    def page(
        self, tenant: str, kind: str, wanted: Filter, limit: int, after: tuple[float, str] | None
    ) -> list[RowMapping]:
        """The tenant's jobs of one kind, newest first, older than the position `(created_at, id)`."""
        own = (jobs.c.tenant == tenant, jobs.c.kind == kind, ~jobs.c.expired)
        query = select(jobs).where(*own, *_conditions(wanted))
        if after is not None:
            query = query.where(tuple_(jobs.c.created_at, jobs.c.id) < after)
        query = query.order_by(jobs.c.created_at.desc(), jobs.c.id.desc()).limit(limit)
        with self._database.read() as connection:
            return list(connection.execute(query).mappings())

    def finished_like(self, cache_key: str, status: str) -> str | None:
        """The newest job of that status that answered the same question."""
        query = select(jobs.c.id).where(jobs.c.cache_key == cache_key, jobs.c.status == status, ~jobs.c.expired)
        with self._database.read() as connection:
            return connection.scalar(query.order_by(jobs.c.created_at.desc()).limit(1))

    def is_waiting(self, move: Move, wanted: Wanted) -> bool:
        """Whether a job waits for the move that a slot could take, soon if not now."""
        with self._database.read() as connection:
            return bool(connection.scalar(is_line(move, wanted)))

    def claim(self, move: Move, wanted: Wanted, owner: str, lease_s: float, **where: str) -> RowMapping | None:
        """Take the job to run next under a lease; None when none waits. `where`: worker and device.

        On PostgreSQL claims pass over rows that others are about to take, so that no two wait for each other.
        """
        if not self.is_waiting(move, wanted):
            return None
        free = next_in_line(move, wanted, owner).scalar_subquery()
        with self._database.write() as connection:
            row = move_job(connection, move, jobs.c.id == free, _hold(owner, lease_s) | where)
            if row is not None:
                take_turn(connection, row["tenant"], row["kind"])
            return row

    def ahead(self, move: Move, tenant: str, kind: str, ids: Collection[str]) -> dict[str, int]:
        """For each of the tenant's waiting jobs among `ids`, how many others start before it."""
        with self._database.read() as connection:
            own = own_line(connection, move, tenant, kind)
            places = {job: place for place, job in enumerate(own) if job in ids}
            crowds = crowds_in_line(connection, move, kind) if places else []
        return {job: ahead(crowds, tenant, place) for job, place in places.items()}

    def beat(self, fence: Fence, lease_s: float) -> bool:
        """Prolong the lease; False when it is lost."""
        with self._database.write() as connection:
            query = update(jobs).where(fence.holds()).values(lease_until=now() + lease_s)
            return bool(connection.execute(query).rowcount)

    def held_status(self, fence: Fence) -> str | None:
        """The status of a job that is held, None when the hold is lost."""
        with self._database.read() as connection:
            return connection.scalar(select(jobs.c.status).where(fence.holds()))

    def report(self, fence: Fence, progress: Json) -> None:
        """Store how far the job has come."""
        with self._database.write() as connection:
            if connection.execute(update(jobs).where(fence.holds()).values(progress=progress)).rowcount:
                record_event(connection, fence.job, "progress", progress)

    def change(self, job_id: str, move: Move) -> RowMapping | None:
        """Change the status of a job that goes on; None when it was in none of the move's sources."""
        with self._database.write() as connection:
            return move_job(connection, move, jobs.c.id == job_id, {})

    def close(self, job_id: str, move: Move) -> RowMapping | None:
        """Bring a job that nobody holds to its end."""
        with self._database.write() as connection:
            return move_job(connection, move, jobs.c.id == job_id, self._ended)

    def release(self, fence: Fence, move: Move, losses: int, **changes: bool) -> RowMapping | None:
        """Put a job back into the queue; the time it ran is no wait. `changes`: whether it is still `quick`."""
        free = {"owner": None, "lease_until": None, "worker": None, "device": None, "started_at": None}
        again = {"losses": jobs.c.losses + losses, "start_by": jobs.c.start_by + (now() - jobs.c.started_at)}
        with self._database.write() as connection:
            return move_job(connection, move, fence.holds(), free | again | changes)

    def finish(
        self,
        fence: Fence,
        move: Move,
        *,
        error: Json | None = None,
        result: Json | None = None,
        witness: bytes | None = None,
        certificate: Json | None = None,
    ) -> RowMapping | None:
        """Store the outcome of a held job; None when the hold is lost or the job is in another status."""
        values = self._ended | {
            "lease_until": None,
            "error": error,
            "has_witness": witness is not None,
            "has_certificate": certificate is not None,
        }
        with self._database.write() as connection:
            row = move_job(connection, move, fence.holds(), values)
            if row is not None and result is not None:
                product = {"result": result, "witness": witness, "certificate": certificate}
                connection.execute(insert(results).values(job=fence.job, **product))
            return row

    def held(self, statuses: Collection[str]) -> list[RowMapping]:
        """Every job in those statuses with its holder, and whether the lease is over."""
        is_over = (jobs.c.lease_until < now()).label("lease_is_over")
        query = select(jobs.c.id, jobs.c.owner, jobs.c.attempt, jobs.c.losses, jobs.c.status, is_over)
        with self._database.read() as connection:
            return list(connection.execute(query.where(jobs.c.status.in_(statuses))).mappings())

    def remove(self, job_id: str, statuses: Collection[str]) -> bool:
        """Delete a job that is in one of those statuses, with its result and events."""
        with self._database.write() as connection:
            query = delete(jobs).where(jobs.c.id == job_id, jobs.c.status.in_(statuses))
            return bool(connection.execute(query).rowcount)

    def counts(self) -> dict[tuple[str, str], int]:
        """Number of jobs by kind and status, of all tenants."""
        query = select(jobs.c.kind, jobs.c.status, func.count()).where(~jobs.c.expired)
        query = query.group_by(jobs.c.kind, jobs.c.status)
        with self._database.read() as connection:
            return {(kind, status): count for kind, status, count in connection.execute(query)}

    def events(self, job_id: str, after: int, limit: int) -> list[RowMapping]:
        """What happened to the job after the event numbered `after`, in order."""
        query = select(events).where(events.c.job == job_id, events.c.id > after)
        with self._database.read() as connection:
            return list(connection.execute(query.order_by(events.c.id).limit(limit)).mappings())


def _hold(owner: str, lease_s: float) -> Json:
    return {
        "owner": owner,
        "lease_until": now() + lease_s,
        "attempt": jobs.c.attempt + 1,
        "started_at": now(),
        "progress": None,
    }


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
