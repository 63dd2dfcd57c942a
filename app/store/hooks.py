"""All SQL on registries' hooks: what they told us, and how far we are with it.

    received ----> waiting (for its job) ----> reporting ----> done
        '---------------------------------------'   '--> failed

A row is worked on under a lease, so that another process takes it up when the first one dies.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, and_, delete, exists, insert, or_, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from ..contract.plain import Json
from .clock import now
from .database import Database
from .tables import Values, hooks, jobs

RECEIVED, WAITING, REPORTING, DONE, FAILED = "received", "waiting", "reporting", "done", "failed"
OVER = (DONE, FAILED)
MAX_ERROR = 1024


@dataclass(frozen=True)
class HookKey:
    """One delivery of one registry."""

    registry: str
    delivery: str

    def row(self) -> ColumnElement[bool]:
        """The condition for its row."""
        return and_(hooks.c.registry == self.registry, hooks.c.delivery == self.delivery)


class HookRepository:
    """One method a query."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def receive(self, key: HookKey, tenant: str, event: Json) -> RowMapping:
        """The delivery's row, made when it is new."""
        values = {"registry": key.registry, "delivery": key.delivery, "tenant": tenant, "event": event}
        query = insert(hooks).values(**values, state=RECEIVED, tries=0, next_at=now(), created_at=now())
        with suppress(IntegrityError), self._database.write() as connection:
            connection.execute(query)
        with self._database.read() as connection:
            return connection.execute(select(hooks).where(key.row())).mappings().one()

    def due(self, limit: int) -> list[HookKey]:
        """Deliveries that can go on now, oldest first."""
        query = select(hooks.c.registry, hooks.c.delivery).where(_is_due()).order_by(hooks.c.next_at).limit(limit)
        with self._database.read() as connection:
            return [HookKey(registry, delivery) for registry, delivery in connection.execute(query)]

    def claim(self, key: HookKey, lease_s: float) -> RowMapping | None:
        """Take a delivery under a lease, and count the try; None when another process was faster."""
        values = {"lease_until": now() + lease_s, "tries": hooks.c.tries + 1}
        with self._database.write() as connection:
            query = update(hooks).where(key.row(), _is_due()).values(values).returning(hooks)
            return connection.execute(query).mappings().first()

    def renew(self, keys: Collection[HookKey], lease_s: float) -> None:
        """Prolong the leases of what is worked on."""
        if not keys:
            return
        mine = or_(*(key.row() for key in keys))
        with self._database.write() as connection:
            query = update(hooks).where(mine, hooks.c.lease_until.is_not(None))
            connection.execute(query.values(lease_until=now() + lease_s))

    def advance(self, key: HookKey, state: str, **values: Any) -> None:
        """Go on to the next state, at once."""
        fresh = {"state": state, "tries": 0, "next_at": now(), "lease_until": None}
        self._write(key, fresh | values)

    def postpone(self, key: HookKey, delay_s: float, error: str) -> None:
        """Try the same again after that many seconds."""
        self._write(key, {"next_at": now() + delay_s, "lease_until": None, "error": error})

    def page(self, tenant: str, limit: int, after: tuple[float, str] | None) -> list[RowMapping]:
        """A tenant's deliveries, newest first, older than the position `(created_at, delivery)`."""
        place = (hooks.c.created_at, hooks.c.delivery)
        query = select(hooks).where(hooks.c.tenant == tenant)
        if after is not None:
            query = query.where(tuple_(*place) < after)
        with self._database.read() as connection:
            return list(connection.execute(query.order_by(*(c.desc() for c in place)).limit(limit)).mappings())

    def forget(self, age_s: float) -> None:
        """Delete deliveries that are over and that many seconds old."""
        old = (hooks.c.state.in_(OVER), hooks.c.created_at < now() - age_s)
        with self._database.read() as connection:
            if connection.scalar(select(hooks.c.delivery).where(*old).limit(1)) is None:
                return
        with self._database.write() as connection:
            connection.execute(delete(hooks).where(*old))

    def _write(self, key: HookKey, values: Values) -> None:
        if values.get("error") is not None:
            values = values | {"error": values["error"][:MAX_ERROR]}
        with self._database.write() as connection:
            connection.execute(update(hooks).where(key.row()).values(values))


def _is_due() -> ColumnElement[bool]:
    """Free, its time come, and not waiting for a job that goes on."""
    free = or_(hooks.c.lease_until.is_(None), hooks.c.lease_until < now())
    goes_on = exists().where(jobs.c.id == hooks.c.job, jobs.c.finished_at.is_(None))
    ready = or_(hooks.c.state.in_((RECEIVED, REPORTING)), and_(hooks.c.state == WAITING, ~goes_on))
    return and_(ready, hooks.c.next_at <= now(), free)
