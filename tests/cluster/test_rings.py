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

from app.jobs.dispatch import celery
from app.jobs.dispatch.celery import QUEUE, TASK, CeleryDispatcher
from app.jobs.record import Kind
from app.store.database import Database
from app.store.jobs import JobRepository
from tests.conftest import eventually, free_port
from tests.jobs.rows import add_model, queued
from tests.servers import Missing, private_redis

Open = Callable[[str], CeleryDispatcher]


class Looks:
    """A slot that counts how often its thread wakes; it never takes a job."""

    def __init__(self, kinds: tuple[Kind, ...] = (Kind.INSPECT,), busy_s: float = 0) -> None:
        self.kinds = kinds
        self.count = 0
        self._busy_s = busy_s

    def prepare(self) -> bool:
        self.count += 1
        return True

    def run_next(self) -> bool:
        time.sleep(self._busy_s)
        return False


class Trap:
    """Makes a directory where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self._path,)


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Database]:
    """An empty one."""
    database = Database(f"sqlite:///{tmp_path}/test.db")
    database.migrate()
    yield database
    database.close()


@pytest.fixture
def open_dispatcher(table: Database) -> Iterator[Open]:
    """Opens dispatchers over the table, whose slots hardly look unasked."""
    opened: list[CeleryDispatcher] = []

    def open_(broker_url: str) -> CeleryDispatcher:
        opened.append(CeleryDispatcher(broker_url, JobRepository(table), poll_s=60))
        return opened[-1]

    yield open_
    for dispatcher in opened:
        dispatcher.close()


def test_a_ring_wakes_a_slot_elsewhere(redis_url: str, open_dispatcher: Open) -> None:
    slot = Looks()
    open_dispatcher(redis_url).serve([slot])
    sender = open_dispatcher(redis_url)
    for _ in range(3):
        before = eventually(lambda: slot.count, lambda count: count >= 1)
        sender.notify(str(uuid.uuid4()), 5)
        eventually(lambda: slot.count, lambda count, before=before: count > before, within_s=5)


@pytest.mark.slow
def test_a_busy_host_hears_rings_again_when_its_broker_is_back(table: Database, open_dispatcher: Open) -> None:
    """What it had taken and could not acknowledge must not count against it."""
    add_model(table)
    queued(JobRepository(table))  # so that a ring is held until the slot has looked
    try:
        with private_redis() as redis:
            slot, sender = Looks((Kind.ANALYZE,), busy_s=0.1), open_dispatcher(redis.url)
            open_dispatcher(redis.url).serve([slot])
            for _ in range(20):
                sender.notify("some job", 5)
            eventually(lambda: slot.count, lambda count: count >= 4)
            redis.kill()
            time.sleep(1)
            redis.start()
            late_sender = open_dispatcher(redis.url)
            eventually(lambda: rung(slot, late_sender), bool, within_s=20)
            assert all(rung(slot, late_sender) for _ in range(5))
    except Missing as missing:
        pytest.skip(str(missing))


def test_another_worker_listens_where_celerys_ends(
    redis_url: str, open_dispatcher: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(celery, "OUTAGE_S", 0.1)
    slot, dispatcher, sender = Looks(), open_dispatcher(redis_url), open_dispatcher(redis_url)
    dispatcher.serve([slot])
    eventually(lambda: rung(slot, sender), bool)
    first = dispatcher._worker
    assert first is not None
    first.hub.call_soon(lambda: 1 / 0)
    eventually(lambda: dispatcher._worker is not first, bool)
    eventually(lambda: rung(slot, sender), bool)


def rung(slot: Looks, sender: CeleryDispatcher) -> bool:
    """Whether a ring wakes the slot within half a second, which is less than Celery's loop rests."""
    before = slot.count
    sender.notify("some job", 5)
    deadline = time.monotonic() + 0.5
    while slot.count == before and time.monotonic() < deadline:
        time.sleep(0.005)
    woken = slot.count > before
    time.sleep(0.2)
    return woken


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
