"""What changes jobs, but what the sweeper does. Every change of status is a move."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import (
    RowMapping,
    delete,
    insert,
    literal,
    select,
    update,
)

from ..contract.plain import Json
from .admission import QueueTerms, bind, check_room, has_files, made_for
from .clock import now
from .crowds import ahead
from .database import Database
from .job_queries import JobQueries
from .line import Wanted, crowds_in_line, is_line, next_in_line, own_line, take_turn
from .series import remember
from .tables import Values, jobs, results
from .transitions import Fence, Move, insert_job, move_job, record_event


class JobRepository(JobQueries):
    """One method a change, beside what is asked."""

    def __init__(self, database: Database, retention_s: float | None = None) -> None:
        """`retention_s`: how long results stay after a job's end, None for ever."""
        super().__init__(database)
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
        copied = [results.c.result, results.c.witness, results.c.certificate, results.c.radii]
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
        radii: bytes | None = None,
    ) -> RowMapping | None:
        """Store the outcome of a held job; None when the hold is lost or the job is in another status."""
        values = self._ended | {
            "lease_until": None,
            "error": error,
            "has_witness": witness is not None,
            "has_certificate": certificate is not None,
            "has_radii": radii is not None,
        }
        with self._database.write() as connection:
            row = move_job(connection, move, fence.holds(), values)
            if row is not None and result is not None:
                product = {"result": result, "witness": witness, "certificate": certificate, "radii": radii}
                connection.execute(insert(results).values(job=fence.job, **product))
                remember(connection, row, result)
            return row

    def remove(self, job_id: str, statuses: Collection[str]) -> bool:
        """Delete a job that is in one of those statuses, with its result and events."""
        with self._database.write() as connection:
            query = delete(jobs).where(jobs.c.id == job_id, jobs.c.status.in_(statuses))
            return bool(connection.execute(query).rowcount)


def _hold(owner: str, lease_s: float) -> Json:
    return {
        "owner": owner,
        "lease_until": now() + lease_s,
        "attempt": jobs.c.attempt + 1,
        "started_at": now(),
        "progress": None,
    }
