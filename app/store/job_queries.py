"""What is asked of jobs without changing any."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, func, select, tuple_

from ..contract.plain import Json
from .clock import now
from .database import Database
from .tables import events, jobs, models, results
from .transitions import Fence

SHORT = ("upper", "lower", "offset")
"""Members of a result whose values are its bracket in short."""


@dataclass(frozen=True)
class Filter:
    """What a listing asks for; None leaves a field open."""

    status: str | None = None
    model: str | None = None
    method: str | None = None
    created_after: float | None = None


class JobQueries:
    """One method a query."""

    def __init__(self, database: Database) -> None:
        self._database = database

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
        """The values of `SHORT` and the `verdict` of those jobs' results, without the rest of them."""
        numbers = [results.c.result[end, "value"].as_float() for end in SHORT]
        query = select(results.c.job, results.c.result["verdict"].as_string(), *numbers)
        with self._database.read() as connection:
            rows = connection.execute(query.where(results.c.job.in_(ids))).all() if ids else []
        return {
            job: {"verdict": verdict} | {end: {"value": value} for end, value in zip(SHORT, values, strict=True)}
            for job, verdict, *values in rows
        }

    def witness(self, job_id: str) -> bytes | None:
        """The job's witness file, None where there is none."""
        with self._database.read() as connection:
            return connection.scalar(select(results.c.witness).where(results.c.job == job_id))

    def radii(self, job_id: str) -> bytes | None:
        """The radii of all rows of the job's data set as a file, None where there are none."""
        with self._database.read() as connection:
            return connection.scalar(select(results.c.radii).where(results.c.job == job_id))

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

    def held_status(self, fence: Fence) -> str | None:
        """The status of a job that is held, None when the hold is lost."""
        with self._database.read() as connection:
            return connection.scalar(select(jobs.c.status).where(fence.holds()))

    def held(self, statuses: Collection[str]) -> list[RowMapping]:
        """Every job in those statuses with its holder, and whether the lease is over."""
        is_over = (jobs.c.lease_until < now()).label("lease_is_over")
        query = select(jobs.c.id, jobs.c.owner, jobs.c.attempt, jobs.c.losses, jobs.c.status, is_over)
        with self._database.read() as connection:
            return list(connection.execute(query.where(jobs.c.status.in_(statuses))).mappings())

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
