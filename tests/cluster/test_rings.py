"""The Celery dispatcher by itself: rings arrive, cost nobody any time, and bring nothing in but a wake-up."""

import logging
import os
import pickle
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kombu import Connection

from app.jobs.dispatch.celery import QUEUE, TASK, CeleryDispatcher
from app.jobs.record import Kind
from app.store.database import Database
from app.store.jobs import JobRepository
from tests.conftest import eventually, free_port

Open = Callable[[str], CeleryDispatcher]


class Looks:
    """A slot that counts how often its thread wakes; there is never a job for it."""

    kinds = (Kind.INSPECT,)

    def __init__(self) -> None:
        self.count = 0

    def prepare(self) -> bool:
        self.count += 1
        return True

    def run_next(self) -> bool:
        return False


class Trap:
    """Makes a directory where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self._path,)


@pytest.fixture
def open_dispatcher(tmp_path: Path) -> Iterator[Open]:
    """Opens dispatchers over an empty table, whose slots hardly look unasked."""
    database = Database(f"sqlite:///{tmp_path}/test.db")
    database.migrate()
    opened: list[CeleryDispatcher] = []

    def open_(broker_url: str) -> CeleryDispatcher:
        opened.append(CeleryDispatcher(broker_url, JobRepository(database), poll_s=60))
        return opened[-1]

    yield open_
    for dispatcher in opened:
        dispatcher.close()
    database.close()


def test_a_ring_wakes_a_slot_elsewhere(redis_url: str, open_dispatcher: Open) -> None:
    slot = Looks()
    open_dispatcher(redis_url).serve([slot])
    sender = open_dispatcher(redis_url)
    for _ in range(3):
        before = eventually(lambda: slot.count, lambda count: count >= 1)
        sender.notify(str(uuid.uuid4()), 5)
        eventually(lambda: slot.count, lambda count, before=before: count > before, within_s=5)


def test_a_broker_that_is_not_there_costs_nobody_any_time(open_dispatcher: Open) -> None:
    dispatcher = open_dispatcher(f"redis://127.0.0.1:{free_port()}/0")
    dispatcher.serve([Looks()])
    begin = time.monotonic()
    for _ in range(20_000):
        dispatcher.notify("some job", 5)
    assert time.monotonic() - begin < 1
    begin = time.monotonic()
    dispatcher.close()
    assert time.monotonic() - begin < 5


def test_nothing_is_unpickled(redis_url: str, open_dispatcher: Open, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    slot = Looks()
    open_dispatcher(redis_url).serve([slot])
    eventually(lambda: slot.count, lambda count: count >= 1)
    with Connection(redis_url) as connection, connection.SimpleQueue(QUEUE) as messages:
        messages.put(
            pickle.dumps(((Trap(trap),), {}, {})),
            headers={"task": TASK, "id": str(uuid.uuid4()), "lang": "py"},
            content_type="application/x-python-serialize",
            content_encoding="binary",
        )
    before = slot.count
    open_dispatcher(redis_url).notify("some job", 5)
    eventually(lambda: slot.count, lambda count: count > before, within_s=5)
    assert not trap.exists()
    pickle.loads(pickle.dumps(Trap(trap)))
    assert trap.exists()


def test_celery_leaves_signals_and_logging_alone(redis_url: str, open_dispatcher: Open) -> None:
    def ours() -> tuple[object, ...]:
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1)
        return (*map(signal.getsignal, numbers), *logging.getLogger().handlers, logging.getLogger().level)

    before, slot = ours(), Looks()
    dispatcher = open_dispatcher(redis_url)
    dispatcher.serve([slot])
    seen = eventually(lambda: slot.count, lambda count: count >= 1)
    dispatcher.notify("some job", 5)
    eventually(lambda: slot.count, lambda count: count > seen, within_s=5)
    assert ours() == before
