"""All SQL on API keys. A secret is shown once; the table holds its SHA-256."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import RowMapping, insert, select, update

from ..contract.request import DEFAULT_PRIORITY
from .clock import now
from .database import Database
from .tables import keys

SECRET_PREFIX = "lip_"  # noqa: S105 (how secrets begin, not one)
SECRET_BYTES = 32


class Scope(StrEnum):
    """What a key allows; none includes another."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@dataclass(frozen=True)
class KeyRecord:
    """A key without its secret. Times are seconds since the epoch, UTC; jobs go up to `max_priority`."""

    id: str
    tenant: str
    scopes: frozenset[Scope]
    created_at: float
    revoked_at: float | None
    max_priority: int

    @classmethod
    def of(cls, row: RowMapping) -> KeyRecord:
        """The record of a row of the keys table."""
        scopes = frozenset(map(Scope, row["scopes"].split(",")))
        return cls(row["id"], row["tenant"], scopes, row["created_at"], row["revoked_at"], row["max_priority"])


class KeyRepository:
    """One method a query."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, tenant: str, scopes: Collection[Scope], max_priority: int = DEFAULT_PRIORITY
    ) -> tuple[KeyRecord, str]:
        """A new key, and its secret, which cannot be read again."""
        secret = SECRET_PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        values = {
            "id": secrets.token_hex(8),
            "tenant": tenant,
            "hash": _digest(secret),
            "scopes": ",".join(scope for scope in Scope if scope in scopes),
            "max_priority": max_priority,
        }
        with self._database.write() as connection:
            query = insert(keys).values(**values, created_at=now()).returning(keys)
            return KeyRecord.of(connection.execute(query).mappings().one()), secret

    def all(self) -> list[KeyRecord]:
        """Every key, revoked ones too, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(select(keys).order_by(keys.c.created_at, keys.c.id)).mappings()
            return [KeyRecord.of(row) for row in rows]

    def revoke(self, key_id: str) -> bool:
        """End a key; False when there is none of that id that is not revoked yet."""
        query = update(keys).where(keys.c.id == key_id, keys.c.revoked_at.is_(None)).values(revoked_at=now())
        with self._database.write() as connection:
            return bool(connection.execute(query).rowcount)

    def are_configured(self) -> bool:
        """Whether a key was ever created: to revoke the last one must not open the service to everybody."""
        with self._database.read() as connection:
            return connection.scalar(select(keys.c.id).limit(1)) is not None

    def is_live(self, key_id: str) -> bool:
        """Whether there is a key of that id that is not revoked."""
        with self._database.read() as connection:
            query = select(keys.c.id).where(keys.c.id == key_id, keys.c.revoked_at.is_(None))
            return connection.scalar(query) is not None

    def holder(self, secret: str) -> KeyRecord | None:
        """The key of that secret, None where it is unknown or revoked."""
        digest = _digest(secret)
        with self._database.read() as connection:
            query = select(keys).where(keys.c.hash == digest, keys.c.revoked_at.is_(None))
            row = connection.execute(query).mappings().first()
        if row is None or not hmac.compare_digest(row["hash"], digest):
            return None
        return KeyRecord.of(row)


def _digest(secret: str) -> str:
    """SHA-256 without salt or stretching: a secret is 256 random bits, which nobody can try out."""
    return hashlib.sha256(secret.encode()).hexdigest()
