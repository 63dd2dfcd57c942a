"""What is looked at in the transaction that inserts an analysis: room in the queue, its files, its idempotency key."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, func, select, update

from ..contract.comparison import other_model
from ..errors import QueueFull, QuotaExceeded
from .database import lock
from .tables import Values, datasets, idempotency, jobs, models

QUEUE_LOCK = "queue"
RETRY_AFTER_S = 10


@dataclass(frozen=True)
class QueueTerms:
    """On what terms a job may wait: how many may, of all and of one tenant, and for how many seconds."""

    max_queued: int
    max_per_tenant: int
    wait_s: float


def check_room(connection: Connection, values: Values, terms: QueueTerms) -> None:
    """Raise QueueFull or QuotaExceeded where too many wait. Jobs come in one by one, so the count is exact."""
    lock(connection, QUEUE_LOCK)
    own = func.count().filter(jobs.c.tenant == values["tenant"])
    waiting = select(func.count(), own).where(jobs.c.status == values["status"], jobs.c.kind == values["kind"])
    of_all, of_tenant = connection.execute(waiting).one()
    headers = {"Retry-After": str(RETRY_AFTER_S)}
    if of_tenant >= terms.max_per_tenant:
        raise QuotaExceeded(f"{of_tenant} of your jobs wait, which is the limit.", headers=headers)
    if of_all >= terms.max_queued:
        raise QueueFull(f"{of_all} jobs wait, which is the limit.", headers=headers)


def made_for(connection: Connection, tenant: str, key: str | None) -> RowMapping | None:
    """The job that a transaction before this one made for the same idempotency key."""
    if key is None:
        return None
    bound = select(idempotency.c.job).where(idempotency.c.tenant == tenant, idempotency.c.key == key)
    job_id = connection.scalar(bound.with_for_update())
    return connection.execute(select(jobs).where(jobs.c.id == job_id)).mappings().first() if job_id else None


def bind(connection: Connection, row: RowMapping, key: str | None) -> None:
    """Bind the new job to its idempotency key, if it has one."""
    if key is not None:
        mine = (idempotency.c.tenant == row["tenant"], idempotency.c.key == key)
        connection.execute(update(idempotency).where(*mine).values(job=row["id"]))


def has_files(connection: Connection, values: Values) -> bool:
    """Whether the tenant has the job's model and data set; nobody can remove them before the transaction ends."""
    uses = [(models, values["model"])] + ([(datasets, values["dataset"])] if values["dataset"] else [])
    second = other_model(values["request"])
    uses += [] if second is None else [(models, second)]
    for digest in sorted(digest for _, digest in uses):
        lock(connection, digest)
    return all(
        connection.scalar(select(table.c.id).where(table.c.tenant == values["tenant"], table.c.id == digest))
        for table, digest in uses
    )
