"""All SQL on captured graphs. A file is moved or removed inside the transaction that writes its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass

from sqlalchemy import ColumnElement, Connection, delete, insert, select, tuple_, update

from .clock import now
from .database import Database, lock
from .tables import artifacts

TOUCHED_S = 3_600.0
"""How old the note of an artifact's last use may be."""


@dataclass(frozen=True)
class ArtifactKey:
    """Which capture it is: whose, of which model, on which shapes, by which version of the service."""

    tenant: str
    model: str
    shapes: str
    engine: str

    def is_row(self) -> ColumnElement[bool]:
        """The condition that a row is this one's."""
        columns = (artifacts.c.tenant, artifacts.c.model, artifacts.c.shapes, artifacts.c.engine)
        return tuple_(*columns) == astuple(self)


class ArtifactRepository:
    """One method a query. Times in seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def digest(self, key: ArtifactKey) -> str | None:
        """The digest of the capture's file; its use is noted."""
        with self._database.read() as connection:
            query = select(artifacts.c.digest, (artifacts.c.used_at < now() - TOUCHED_S).label("is_old"))
            row = connection.execute(query.where(key.is_row())).first()
        if row is not None and row.is_old:
            with self._database.write() as connection:
                connection.execute(update(artifacts).where(key.is_row()).values(used_at=now()))
        return None if row is None else str(row.digest)

    def put(self, key: ArtifactKey, digest: str, keep_file: Callable[[], None]) -> None:
        """Note a capture in place of an earlier one, then `keep_file()`."""
        with self._database.write() as connection:
            lock(connection, digest)
            connection.execute(delete(artifacts).where(key.is_row()))
            names = ("tenant", "model", "shapes", "engine")
            values = dict(zip(names, astuple(key), strict=True)) | {"digest": digest, "used_at": now()}
            connection.execute(insert(artifacts).values(**values))
            keep_file()

    def drop(self, key: ArtifactKey, drop_file: Callable[[str], None]) -> None:
        """Forget one capture; `drop_file(digest)` where nothing else has its file."""
        self._delete(key.is_row(), drop_file)

    def drop_model(self, tenant: str, model: str, drop_file: Callable[[str], None]) -> None:
        """Forget every capture of the tenant's model."""
        self._delete((artifacts.c.tenant == tenant) & (artifacts.c.model == model), drop_file)

    def purge(self, age_s: float, drop_file: Callable[[str], None]) -> None:
        """Forget captures that nobody has used for `age_s` seconds."""
        self._delete(artifacts.c.used_at < now() - age_s, drop_file)

    def _delete(self, where: ColumnElement[bool], drop_file: Callable[[str], None]) -> None:
        with self._database.read() as connection:
            if connection.scalar(select(artifacts.c.digest).where(where).limit(1)) is None:
                return
        with self._database.write() as connection:
            gone = connection.scalars(delete(artifacts).where(where).returning(artifacts.c.digest)).all()
            for digest in _unused(connection, gone):
                drop_file(digest)


def _unused(connection: Connection, digests: Iterable[str]) -> list[str]:
    """Those that no row names any more; nobody can name them again until the transaction is through."""
    unused = []
    for digest in sorted({*digests}):
        lock(connection, digest)
        if connection.scalar(select(artifacts.c.digest).where(artifacts.c.digest == digest).limit(1)) is None:
            unused.append(digest)
    return unused
