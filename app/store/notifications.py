"""News from other processes: PostgreSQL tells of every event as its transaction commits.

Best effort, like every bell here: what is missed while the connection is down is found by looking at the table.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

from .database import Database
from .transitions import EVENTS, QUEUE

logger = logging.getLogger(__name__)

LISTEN_S = 0.5
FIRST_RETRY_S = 0.1
MAX_RETRY_S = 5.0


class Listener:
    """A thread with a connection of its own that it makes anew when it breaks. On SQLite there is nothing to hear."""

    def __init__(self, database: Database, on_change: Callable[[str], None], on_queued: Callable[[str], None]) -> None:
        self._engine = database.engine
        self._calls = {EVENTS: on_change, QUEUE: on_queued}
        self._stop = threading.Event()
        self._retry_s = FIRST_RETRY_S
        self._thread = threading.Thread(target=self._listen_forever, name="listener", daemon=True)

    def start(self) -> None:
        """Call `on_change` with the id of each job that something happens to, `on_queued` when one begins to wait."""
        if self._engine.dialect.name == "postgresql":
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _listen_forever(self) -> None:
        while not self._stop.is_set():
            try:
                self._listen()
            except Exception as error:
                if self._retry_s == FIRST_RETRY_S:
                    logger.warning("news from the database are missed for a while: %s", type(error).__name__)
                self._stop.wait(self._retry_s)
                self._retry_s = min(MAX_RETRY_S, 2 * self._retry_s)

    def _listen(self) -> None:
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            try:
                for channel in self._calls:
                    connection.exec_driver_sql(f"LISTEN {channel}")
                self._retry_s = FIRST_RETRY_S
                while not self._stop.is_set():
                    self._hear(connection)
            finally:
                connection.invalidate()

    def _hear(self, connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        for news in driver.notifies(timeout=LISTEN_S):
            self._calls[news.channel](news.payload)
