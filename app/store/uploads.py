"""All SQL on uploaded files: models and data sets, each with a table of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from sqlalchemy import Column, RowMapping, Table, delete, exists, insert, select, tuple_

from app.store.clock import now
from app.store.database import Database
from app.store.tables import datasets, jobs, models


class UploadRepository:
    """One method a query; a file is moved or removed inside the transaction that writes its row."""

    def __init__(self, database: Database, table: Table, used_by: Column[str]) -> None:
        self._database = database
        self._table = table
        self._used_by = used_by

    def add(self, values: dict[str, Any], keep_file: Callable[[], None]) -> bool:
        """Insert the file's row unless it is known, then `keep_file()`; True when it is new."""
        table = self._table
        with self._database.write() as connection:
            known = connection.scalar(select(table.c.id).where(table.c.id == values["id"]))
            if known is None:
                connection.execute(insert(table).values(**values, created_at=now()))
            keep_file()
        return known is None

    def get(self, sha256: str) -> RowMapping | None:
        """The row of that digest."""
        with self._database.read() as connection:
            query = select(self._table).where(self._table.c.id == sha256)
            return connection.execute(query).mappings().first()

    def page(self, limit: int, after: tuple[float, str] | None) -> list[RowMapping]:
        """Rows, newest first, older than the position `(created_at, id)`."""
        created_at, digest = self._table.c.created_at, self._table.c.id
        query = select(self._table).order_by(created_at.desc(), digest.desc()).limit(limit)
        if after is not None:
            query = query.where(tuple_(created_at, digest) < after)
        with self._database.read() as connection:
            return list(connection.execute(query).mappings())

    def remove(self, sha256: str, active: Collection[str], drop_file: Callable[[], None]) -> bool:
        """Delete the row and `drop_file()` unless a job that uses it has one of the `active` statuses."""
        in_use = exists().where(self._used_by == self._table.c.id, jobs.c.status.in_(active))
        with self._database.write() as connection:
            gone = connection.execute(delete(self._table).where(self._table.c.id == sha256, ~in_use)).rowcount
            if gone:
                drop_file()
        return bool(gone)


def model_repository(database: Database) -> UploadRepository:
    """The models."""
    return UploadRepository(database, models, jobs.c.model)


def dataset_repository(database: Database) -> UploadRepository:
    """The data sets."""
    return UploadRepository(database, datasets, jobs.c.dataset)
