"""Secrets that the service made for itself."""

from __future__ import annotations

import secrets as randomness
from contextlib import suppress

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from .database import Database
from .tables import secrets

BYTES = 32


def own_secret(database: Database, name: str) -> str:
    """The secret of that name, made when it is first asked for; the same in every process on this database."""
    query = select(secrets.c.value).where(secrets.c.name == name)
    with database.read() as connection:
        known = connection.scalar(query)
    if known is None:
        with suppress(IntegrityError), database.write() as connection:
            connection.execute(insert(secrets).values(name=name, value=randomness.token_hex(BYTES)))
        with database.read() as connection:
            known = connection.scalar(query)
    assert known is not None
    return str(known)
