"""All SQL on uploaded files: models and data sets, each with a table of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection

from sqlalchemy import ColumnElement, RowMapping, Table, and_, delete, exists, insert, or_, select, tuple_

from .clock import now
from .database import Database, lock
from .tables import Values, datasets, jobs, models

BASELINE = ("gate", "baseline")
"""Where a request names the model that a gate compares with."""


class UploadRepository:
    """One method a query; a file is moved or removed inside the transaction that writes its row."""

    def __init__(self, database: Database, table: Table, *used_by: ColumnElement[str]) -> None:
        self._database = database
        self._table = table
        self._used_by = used_by

    def add(self, values: Values, keep_file: Callable[[], None]) -> bool:
        """Insert the file's row unless the tenant has it, then `keep_file()`; True when it is new."""
        with self._database.write() as connection:
            lock(connection, values["id"])
            known = connection.scalar(select(self._table.c.id).where(self._own(values["tenant"], values["id"])))
            if known is None:
                connection.execute(insert(self._table).values(**values, created_at=now()))
            keep_file()
        return known is None

    def get(self, tenant: str, sha256: str) -> RowMapping | None:
        """The tenant's row of that digest."""
        with self._database.read() as connection:
            query = select(self._table).where(self._own(tenant, sha256))
            return connection.execute(query).mappings().first()

    def page(self, tenant: str, limit: int, after: tuple[float, str] | None) -> list[RowMapping]:
        """The tenant's rows, newest first, older than the position `(created_at, id)`."""
        created_at, digest = self._table.c.created_at, self._table.c.id
        query = select(self._table).where(self._table.c.tenant == tenant)
        if after is not None:
            query = query.where(tuple_(created_at, digest) < after)
        with self._database.read() as connection:
            ordered = query.order_by(created_at.desc(), digest.desc()).limit(limit)
            return list(connection.execute(ordered).mappings())

    def remove(self, tenant: str, sha256: str, active: Collection[str], drop_file: Callable[[], None]) -> bool:
        """Delete the row unless a job of the tenant that uses it has one of the `active` statuses.

        `drop_file()` when no other tenant has the same file.
        """
        used = or_(*(column == self._table.c.id for column in self._used_by))
        in_use = exists().where(jobs.c.tenant == self._table.c.tenant, used, jobs.c.status.in_(active))
        with self._database.write() as connection:
            lock(connection, sha256)
            gone = connection.execute(delete(self._table).where(self._own(tenant, sha256), ~in_use)).rowcount
            if gone and connection.scalar(select(self._table.c.id).where(self._table.c.id == sha256)) is None:
                drop_file()
        return bool(gone)

    def _own(self, tenant: str, sha256: str) -> ColumnElement[bool]:
        return and_(self._table.c.tenant == tenant, self._table.c.id == sha256)


def model_repository(database: Database) -> UploadRepository:
    return UploadRepository(
        database, models, jobs.c.model, jobs.c.request["b"].as_string(), jobs.c.request[BASELINE].as_string()
    )


def dataset_repository(database: Database) -> UploadRepository:
    return UploadRepository(database, datasets, jobs.c.dataset)
