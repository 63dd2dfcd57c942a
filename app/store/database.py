"""The connection to the database: one engine, read and write transactions, the schema brought up to date."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.exc import DisconnectionError, InterfaceError, OperationalError, TimeoutError

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_TIMEOUT_MS = 20_000
READ_ONLY = "lipserve_read_only"

SQLITE: dict[str, Any] = {"pool_size": 16, "max_overflow": 32, "pool_timeout": 60}
POSTGRESQL: dict[str, Any] = {
    "pool_size": 8,
    "max_overflow": 16,
    "pool_timeout": 60,
    "pool_pre_ping": True,
    "connect_args": {
        "application_name": "lipserve",
        "connect_timeout": 5,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
    },
}
"""A server that vanished without a word is noticed within half a minute."""

OUTAGES = (OperationalError, InterfaceError, DisconnectionError, TimeoutError)
"""What a database that is away, restarting or overloaded answers; anything else is a defect."""

encode = partial(json.dumps, allow_nan=False, separators=(",", ":"))


class Database:
    """Short transactions on one engine: `read()` takes no write lock, `write()` commits or rolls back."""

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        self._reader = self.engine.execution_options(**{READ_ONLY: True})
        # SQLite's own waiting is sleeping and trying again, up to 0.1 s a time: threads of one process take turns.
        is_sqlite = self.engine.dialect.name == "sqlite"
        self._turn: AbstractContextManager[object] = threading.Lock() if is_sqlite else nullcontext()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view of the database."""
        with self._reader.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that holds SQLite's write lock from its start, so it never fails half-way."""
        with self._turn, self.engine.begin() as connection:
            yield connection

    def migrate(self) -> None:
        """Bring the schema up to date; several processes may try at once."""
        from alembic import command  # a fifth of a second, which commands that open no database save
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        with self.write() as connection:
            lock(connection, "migrations")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def check(self) -> None:
        """Raise SQLAlchemyError unless the database answers."""
        with self.read() as connection:
            connection.exec_driver_sql("SELECT 1")

    def close(self) -> None:
        """Close the pooled connections."""
        self.engine.dispose()


def lock(connection: Connection, name: str) -> None:
    """Have the transaction wait for others that hold the same name. SQLite lets one transaction write anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    engine = create_engine(parsed, json_serializer=encode, **(SQLITE if is_sqlite else POSTGRESQL))
    if is_sqlite:
        if parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "before_cursor_execute", _without_nul, retval=True)
    return engine


def _configure_sqlite(connection: Any, _record: Any) -> None:
    """Write-ahead log, every commit on disk, and transactions that begin where we say."""
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    read_only = connection.get_execution_options().get(READ_ONLY)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _without_nul(_connection: Connection, _cursor: Any, statement: str, parameters: Any, *rest: Any) -> tuple[str, Any]:
    """PostgreSQL refuses text with NUL. No row holds any, so what asks for one finds nothing, as on SQLite.

    The last of `rest` says whether there are parameters of many rows.
    """
    return statement, [_cleaned(row) for row in parameters] if rest[-1] else _cleaned(parameters)


def _cleaned(row: Any) -> Any:
    """The parameters of one row, by name; migrations have some by position, and nobody's text."""
    if not isinstance(row, dict):
        return row
    return {name: value.replace("\0", "\ufffd") if isinstance(value, str) else value for name, value in row.items()}
