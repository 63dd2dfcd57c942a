"""All SQL of the sweeper: what has waited or was kept for long enough."""

from __future__ import annotations

from collections.abc import Callable, Collection

from sqlalchemy import ColumnElement, Connection, delete, select, update

from ..contract.plain import Json
from .clock import now
from .database import Database
from .tables import events, jobs, results
from .transitions import Move, move_job

BATCH = 500
"""Most jobs that one transaction touches, so that nobody waits for long."""


class RetentionRepository:
    """One method a sweep; sweeps of several hosts pass over each other's rows. Times in seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def close_overdue(self, move: Move, retention_s: float, error_of: Callable[[str], Json]) -> list[str]:
        """Bring jobs that waited for too long to their end; their ids."""
        overdue = (jobs.c.status.in_(move.sources), jobs.c.start_by < now())
        ended = {"finished_at": now(), "expires_at": now() + retention_s}

        def close(connection: Connection, ids: Collection[str]) -> None:
            for job_id in ids:
                move_job(connection, move, jobs.c.id == job_id, ended | {"error": error_of(job_id)})

        return self._sweep(close, *overdue)

    def expire(self) -> list[str]:
        """Delete what is kept about jobs whose time is over, all but the row; their ids."""

        def strip(connection: Connection, ids: Collection[str]) -> None:
            for table in (results, events):
                connection.execute(delete(table).where(table.c.job.in_(ids)))
            bare = {
                "expired": True,
                "has_witness": False,
                "has_certificate": False,
                "has_radii": False,
                "progress": None,
            }
            connection.execute(update(jobs).where(jobs.c.id.in_(ids)).values(bare))

        return self._sweep(strip, ~jobs.c.expired, jobs.c.expires_at < now())

    def forget(self, retention_s: float) -> list[str]:
        """Delete the rows of jobs that expired that long ago; their ids."""
        return self._sweep(_delete, jobs.c.expired, jobs.c.expires_at < now() - retention_s)

    def purge(self, kind: str, statuses: Collection[str], age_s: float) -> list[str]:
        """Delete jobs of that kind that have been over for `age_s` seconds; their ids."""
        return self._sweep(
            _delete, jobs.c.kind == kind, jobs.c.status.in_(statuses), jobs.c.finished_at < now() - age_s
        )

    def _sweep(self, work: Callable[[Connection, Collection[str]], None], *where: ColumnElement[bool]) -> list[str]:
        """Do `work` on every row that fits; nobody waits for a sweep that finds nothing."""
        query, done = select(jobs.c.id).where(*where).limit(BATCH), list[str]()
        while True:
            with self._database.read() as connection:
                if connection.scalar(query) is None:
                    return done
            with self._database.write() as connection:
                ids = connection.scalars(query.with_for_update(skip_locked=True)).all()
                work(connection, ids)
            done += ids
            if len(ids) < BATCH:
                return done


def _delete(connection: Connection, ids: Collection[str]) -> None:
    connection.execute(delete(jobs).where(jobs.c.id.in_(ids)))
