"""All SQL on outgoing webhooks: an outbox filled by the transaction that ends a job, emptied under leases."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, delete, insert, or_, select, tuple_, update

from .clock import now
from .database import Database
from .tables import Values, attempts, deliveries

PENDING, DELIVERED, FAILED = "pending", "delivered", "failed"
ENDINGS = ("succeeded", "failed", "canceled", "timed_out")
FACTS = ("id", "status", "finished_at", "has_witness", "has_certificate", "has_radii")
"""What the message tells of a job; it may be deleted before the message is sent."""
MAX_ERROR = 512


@dataclass(frozen=True)
class Outcome:
    """What became of one attempt: the receiver's status, or why there was none; `seconds` is how long it took."""

    status: int | None
    error: str | None
    seconds: float


def announce(connection: Connection, job: RowMapping) -> None:
    """Have the end of a job told to its receiver, if it has one."""
    if job["webhook_url"] is None or job["status"] not in ENDINGS:
        return
    values = {
        "id": f"msg_{uuid.uuid4().hex}",
        "tenant": job["tenant"],
        "job": job["id"],
        "url": job["webhook_url"],
        "type": f"job.{job['status']}",
        "facts": {name: job[name] for name in FACTS},
        "state": PENDING,
        "tries": 0,
    }
    connection.execute(insert(deliveries).values(**values, next_at=now(), created_at=now()))


class DeliveryRepository:
    """One method a query."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, limit: int) -> list[str]:
        """Messages to be sent now, oldest first."""
        query = select(deliveries.c.id).where(_is_due()).order_by(deliveries.c.next_at).limit(limit)
        with self._database.read() as connection:
            return list(connection.scalars(query))

    def claim(self, delivery_id: str, lease_s: float) -> RowMapping | None:
        """Take a message under a lease, and count the try; None when another sender was faster."""
        values = {"lease_until": now() + lease_s, "tries": deliveries.c.tries + 1}
        query = update(deliveries).where(deliveries.c.id == delivery_id, _is_due()).values(values).returning(deliveries)
        with self._database.write() as connection:
            return connection.execute(query).mappings().first()

    def delivered(self, claimed: RowMapping, outcome: Outcome) -> None:
        """The receiver has it."""
        self._settle(claimed, outcome, {"state": DELIVERED, "delivered_at": now()})

    def postpone(self, claimed: RowMapping, outcome: Outcome, delay_s: float) -> None:
        """Try again after that many seconds."""
        self._settle(claimed, outcome, {"next_at": now() + delay_s})

    def give_up(self, claimed: RowMapping, outcome: Outcome) -> None:
        """Try no more, unless someone asks for it."""
        self._settle(claimed, outcome, {"state": FAILED})

    def resend(self, tenant: str, delivery_id: str) -> RowMapping | None:
        """Send a message anew, with all its tries; None where the tenant has no such message."""
        mine = and_(deliveries.c.id == delivery_id, deliveries.c.tenant == tenant)
        values = {"state": PENDING, "tries": 0, "next_at": now(), "lease_until": None}
        with self._database.write() as connection:
            query = update(deliveries).where(mine).values(values).returning(deliveries)
            return connection.execute(query).mappings().first()

    def page(self, tenant: str, job: str | None, limit: int, after: tuple[float, str] | None) -> list[RowMapping]:
        """A tenant's messages, newest first, older than the position `(created_at, id)`."""
        place = (deliveries.c.created_at, deliveries.c.id)
        query = select(deliveries).where(deliveries.c.tenant == tenant)
        if job is not None:
            query = query.where(deliveries.c.job == job)
        if after is not None:
            query = query.where(tuple_(*place) < after)
        with self._database.read() as connection:
            return list(connection.execute(query.order_by(*(c.desc() for c in place)).limit(limit)).mappings())

    def attempts(self, delivery_ids: list[str]) -> list[RowMapping]:
        """Every attempt at these messages, oldest first."""
        query = select(attempts).where(attempts.c.delivery.in_(delivery_ids)).order_by(attempts.c.id)
        with self._database.read() as connection:
            return list(connection.execute(query).mappings())

    def forget(self, age_s: float) -> None:
        """Delete messages that are settled and that many seconds old."""
        old = (deliveries.c.state != PENDING, deliveries.c.created_at < now() - age_s)
        with self._database.read() as connection:
            if connection.scalar(select(deliveries.c.id).where(*old).limit(1)) is None:
                return
        with self._database.write() as connection:
            connection.execute(delete(deliveries).where(*old))

    def _settle(self, claimed: RowMapping, outcome: Outcome, values: Values) -> None:
        """Write the attempt down; a message that was taken over or resent meanwhile is left to its new sender."""
        still = and_(deliveries.c.id == claimed["id"], deliveries.c.lease_until == claimed["lease_until"])
        attempt = {"status": outcome.status, "error": outcome.error and outcome.error[:MAX_ERROR]}
        with self._database.write() as connection:
            connection.execute(update(deliveries).where(still).values(lease_until=None, **values))
            there = select(deliveries.c.id).where(deliveries.c.id == claimed["id"])
            if connection.scalar(there) is not None:
                query = insert(attempts).values(delivery=claimed["id"], at=now(), seconds=outcome.seconds, **attempt)
                connection.execute(query)


def _is_due() -> Any:
    free = or_(deliveries.c.lease_until.is_(None), deliveries.c.lease_until < now())
    return and_(deliveries.c.state == PENDING, deliveries.c.next_at <= now(), free)
