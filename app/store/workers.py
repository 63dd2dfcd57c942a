"""All SQL on workers: the slots of every host, as their supervisors last saw them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from sqlalchemy import RowMapping, delete, insert, select

from ..contract.plain import Json
from .clock import now
from .database import Database, lock
from .tables import workers


class View(Protocol):
    """A slot at one moment."""

    @property
    def name(self) -> str:
        """Name of the slot."""

    @property
    def kinds(self) -> Collection[str]:
        """What can run there."""

    @property
    def device(self) -> str:
        """Where it computes."""

    @property
    def state(self) -> str:
        """What it does."""

    @property
    def job(self) -> str | None:
        """Id of the job that it runs."""

    @property
    def pid(self) -> int | None:
        """Process id of its child, on its own host."""

    @property
    def confinement(self) -> str:
        """How far the child is confined: full, partial or none."""

    @property
    def details(self) -> Json:
        """What else the child said of itself."""


class WorkerRepository:
    """One method a query."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def publish(self, supervisor: str, host: str, views: Sequence[View]) -> None:
        """Replace what is known of that supervisor's slots; they are seen now."""
        of_supervisor = workers.c.supervisor == supervisor
        with self._database.write() as connection:
            lock(connection, supervisor)
            since = dict(connection.execute(select(workers.c.name, workers.c.started_at).where(of_supervisor)).all())
            connection.execute(delete(workers).where(of_supervisor))
            for view in views:
                times = {"started_at": since.get(view.name, now()), "seen_at": now()}
                connection.execute(
                    insert(workers).values(_row(view) | times | {"supervisor": supervisor, "host": host})
                )

    def live(self, within_s: float) -> list[RowMapping]:
        """Every slot that was seen within that many seconds, by name."""
        query = select(workers).where(workers.c.seen_at > now() - within_s)
        with self._database.read() as connection:
            return list(connection.execute(query.order_by(workers.c.name, workers.c.supervisor)).mappings())

    def forget(self, supervisor: str) -> None:
        """Delete the slots of a supervisor that is gone."""
        with self._database.write() as connection:
            lock(connection, supervisor)
            connection.execute(delete(workers).where(workers.c.supervisor == supervisor))

    def purge(self, age_s: float) -> None:
        """Delete slots that nobody has seen for that many seconds."""
        unseen = workers.c.seen_at < now() - age_s
        with self._database.read() as connection:
            if connection.scalar(select(workers.c.name).where(unseen).limit(1)) is None:
                return
        with self._database.write() as connection:
            connection.execute(delete(workers).where(unseen))


def _row(view: View) -> Json:
    return {
        "name": view.name,
        "kinds": ",".join(view.kinds),
        "device": view.device,
        "state": view.state,
        "job": view.job,
        "pid": view.pid,
        "confinement": view.confinement,
        "details": view.details,
    }
