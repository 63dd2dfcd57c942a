"""All SQL on idempotency keys: who was first, which job came of it, and what was answered."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from ..contract.plain import Json
from .clock import now
from .database import Database
from .tables import idempotency

RACES = 3
"""How often a row may be written by somebody else between the look at it and the insertion."""


STALE_S = 20.0
"""A request that has not been renewed for this long is one of a process that died."""


@dataclass(frozen=True)
class Claim:
    """A request under a key; requests of one `fingerprint` are the same request."""

    tenant: str
    key: str
    fingerprint: str

    def row(self) -> ColumnElement[bool]:
        """The condition for the key's row, whichever request it is of."""
        return and_(idempotency.c.tenant == self.tenant, idempotency.c.key == self.key)


@dataclass(frozen=True)
class Earlier:
    """What stands under a key: the job that was submitted, the answer that was given, or neither yet."""

    fingerprint: str
    job: str | None
    status: int | None
    headers: dict[str, str]
    body: str


class IdempotencyRepository:
    """One method a query. A row without job and answer is in flight while it is renewed."""

    def __init__(self, database: Database, keep_s: float, stale_s: float = STALE_S) -> None:
        self._database = database
        self._keep_s = keep_s
        self._stale_s = stale_s

    def begin(self, claim: Claim) -> float | Earlier:
        """The hold of a request that is the first under its key, else what stands there."""
        for _ in range(RACES):
            with suppress(IntegrityError), self._database.write() as connection:
                connection.execute(delete(idempotency).where(self._is_void(claim)))
                row = connection.execute(select(idempotency).where(claim.row())).mappings().first()
                if row is not None:
                    return _earlier(dict(row))
                values = {"tenant": claim.tenant, "key": claim.key, "fingerprint": claim.fingerprint}
                query = insert(idempotency).values(**values, created_at=now(), renewed_at=now())
                return float(connection.execute(query.returning(idempotency.c.created_at)).scalar_one())
        raise RuntimeError("an idempotency key changes hands faster than it can be read")

    def renew(self, claim: Claim, hold: float) -> None:
        """Say that the request is still being answered."""
        with self._database.write() as connection:
            connection.execute(update(idempotency).where(_held(claim, hold)).values(renewed_at=now()))

    def finish(self, claim: Claim, hold: float, status: int, headers: dict[str, str], body: str) -> None:
        values = {"status": status, "headers": headers, "body": body, "renewed_at": now()}
        with self._database.write() as connection:
            connection.execute(update(idempotency).where(_held(claim, hold)).values(**values))

    def release(self, claim: Claim, hold: float) -> None:
        """Let the next request try again; a job that was submitted meanwhile stays bound to the key."""
        with self._database.write() as connection:
            connection.execute(delete(idempotency).where(_held(claim, hold), idempotency.c.job.is_(None)))

    def _is_void(self, claim: Claim) -> ColumnElement[bool]:
        """Rows kept long enough, and the claim's where it is of a process that died before it did anything."""
        table = idempotency.c
        died = and_(table.job.is_(None), table.status.is_(None), table.renewed_at < now() - self._stale_s)
        return or_(table.created_at < now() - self._keep_s, and_(claim.row(), died))


def _held(claim: Claim, hold: float) -> ColumnElement[bool]:
    return and_(claim.row(), idempotency.c.created_at == hold)


def _earlier(row: Json) -> Earlier:
    return Earlier(row["fingerprint"], row["job"], row["status"], row["headers"] or {}, row["body"] or "")
