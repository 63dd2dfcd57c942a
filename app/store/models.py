"""All SQL on models."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from sqlalchemy import RowMapping, delete, exists, insert, select, tuple_

from app.store.clock import now
from app.store.database import Database
from app.store.tables import jobs, models


class ModelRepository:
    """One method a query; a file is moved or removed inside the transaction that writes its row."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, values: dict[str, Any], keep_file: Callable[[], None]) -> bool:
        """Insert the model unless it is known, then `keep_file()`; True when it is new."""
        with self._database.write() as connection:
            known = connection.scalar(select(models.c.id).where(models.c.id == values["id"]))
            if known is None:
                connection.execute(insert(models).values(**values, created_at=now()))
            keep_file()
        return known is None

    def get(self, model_id: str) -> RowMapping | None:
        """The model of that digest."""
        with self._database.read() as connection:
            return connection.execute(select(models).where(models.c.id == model_id)).mappings().first()

    def page(self, limit: int, after: tuple[float, str] | None) -> list[RowMapping]:
        """Models, newest first, older than the position `(created_at, id)`."""
        query = select(models).order_by(models.c.created_at.desc(), models.c.id.desc()).limit(limit)
        if after is not None:
            query = query.where(tuple_(models.c.created_at, models.c.id) < after)
        with self._database.read() as connection:
            return list(connection.execute(query).mappings())

    def remove(self, model_id: str, active: Collection[str], drop_file: Callable[[], None]) -> bool:
        """Delete the model and `drop_file()` unless a job on it has one of the `active` statuses."""
        in_use = exists().where(jobs.c.model == models.c.id, jobs.c.status.in_(active))
        with self._database.write() as connection:
            gone = connection.execute(delete(models).where(models.c.id == model_id, ~in_use)).rowcount
            if gone:
                drop_file()
        return bool(gone)
