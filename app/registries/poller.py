"""A thread that looks again and again for rows to work on, and a few threads that work."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

logger = logging.getLogger(__name__)

PATIENCE_S = 2.0

Key = TypeVar("Key", bound=Hashable)


class Poller(Generic[Key]):
    """Every `every_s` seconds, `look(n)` names up to n rows that are due and each is given to `work` in a thread.

    Which process works on a row is settled by its lease; a row that is under way here is not begun twice.
    """

    def __init__(
        self,
        name: str,
        threads: int,
        every_s: float,
        look: Callable[[int], Sequence[Key]],
        work: Callable[[Key], None],
    ) -> None:
        self._name = name
        self._threads = threads
        self._every_s = every_s
        self._look = look
        self._work = work
        self._chores: list[tuple[float, Callable[[], None]]] = []
        self._stop = threading.Event()
        self._free = threading.Semaphore(threads)
        self._under_way: set[Key] = set()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def under_way(self) -> list[Key]:
        """Rows that are worked on at this moment."""
        return list(self._under_way)

    def also(self, every_s: float, chore: Callable[[], None]) -> None:
        """Have something else done from time to time, by the thread that looks."""
        self._chores.append((every_s, chore))

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more; what does not end soon is left, and its row to whoever finds the lease over."""
        self._stop.set()
        self._thread.join()
        deadline = time.monotonic() + PATIENCE_S
        for _ in range(self._threads):
            self._free.acquire(timeout=max(0, deadline - time.monotonic()))

    def _run(self) -> None:
        due_at = [time.monotonic() for _ in self._chores]
        while not self._stop.is_set():
            try:
                for key in self._look(2 * self._threads):
                    self._hand_over(key)
                for index, (every_s, chore) in enumerate(self._chores):
                    if time.monotonic() >= due_at[index]:
                        chore()
                        due_at[index] = time.monotonic() + every_s
            except Exception:
                logger.exception("%s: a round failed and will be tried again", self._name)
            self._stop.wait(self._every_s)

    def _hand_over(self, key: Key) -> None:
        if key in self._under_way or self._stop.is_set() or not self._free.acquire(blocking=False):
            return
        self._under_way.add(key)
        threading.Thread(target=self._do, args=(key,), name=self._name, daemon=True).start()

    def _do(self, key: Key) -> None:
        try:
            self._work(key)
        except Exception:
            logger.exception("%s: %s failed and will be tried again", self._name, key)
        finally:
            self._under_way.discard(key)
            self._free.release()
