"""The tables behind webhooks and hooks, on each kind of database: claims, leases, transactions."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select, update

from app.jobs.states import CANCEL_QUEUED
from app.registries.card import Shape, inputs_of
from app.store.database import Database
from app.store.deliveries import DeliveryRepository, Outcome
from app.store.hooks import REPORTING, WAITING, HookKey, HookRepository
from app.store.jobs import JobRepository
from app.store.secrets import own_secret
from app.store.tables import deliveries, hooks
from tests.jobs.rows import queued

FINE = Outcome(200, None, 0.1)
URL = "http://receiver.example/"


def ended(database: Database, **given: Any) -> str:
    repository = JobRepository(database)
    job = queued(repository, **{"webhook_url": URL} | given)
    assert repository.close(job, CANCEL_QUEUED)
    return job


def rows(database: Database, table: Any) -> int:
    with database.read() as connection:
        return int(connection.scalar(select(func.count()).select_from(table)) or 0)


def test_the_end_and_its_message_are_one_transaction(database: Database) -> None:
    job = ended(database, tenant="t")
    ended(database, webhook_url=None)
    [row] = DeliveryRepository(database).page("t", None, 10, None)
    assert (row["job"], row["type"], row["url"], row["state"]) == (job, "job.canceled", URL, "pending")
    assert DeliveryRepository(database).page("", None, 10, None) == []
    assert rows(database, deliveries) == 1
    assert JobRepository(database).close(job, CANCEL_QUEUED) is None
    assert rows(database, deliveries) == 1


def test_a_failed_transaction_leaves_neither_end_nor_message(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.store import transitions

    repository = JobRepository(database)
    job = queued(repository, webhook_url=URL)

    def broken(*_: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(transitions, "_notify", broken)
    monkeypatch.setattr(transitions, "record_event", broken)
    with pytest.raises(RuntimeError):
        repository.close(job, CANCEL_QUEUED)
    row = repository.get("", job)
    assert row is not None
    assert (row["status"], rows(database, deliveries)) == ("queued", 0)


def test_of_many_senders_one_claims(database: Database) -> None:
    repository = DeliveryRepository(database)
    for _ in range(10):
        ended(database)
    found = repository.due(100)
    assert len(found) == 10
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda key: repository.claim(key, 30), found * 8))
    assert sum(claim is not None for claim in claims) == 10
    assert repository.due(100) == []


def test_a_lease_that_is_over_is_taken_and_its_late_holder_changes_nothing(database: Database) -> None:
    repository = DeliveryRepository(database)
    ended(database)
    [key] = repository.due(1)
    late = repository.claim(key, 0.05)
    time.sleep(0.1)
    fresh = repository.claim(key, 30)
    assert late is not None
    assert fresh is not None
    assert fresh["tries"] == 2
    repository.give_up(late, Outcome(None, "late", 1))
    assert repository.page("", None, 1, None)[0]["state"] == "pending"
    repository.delivered(fresh, FINE)
    [row] = repository.page("", None, 1, None)
    assert (row["state"], len(repository.attempts([key]))) == ("delivered", 2)


def test_settled_messages_are_forgotten_with_their_attempts(database: Database) -> None:
    repository = DeliveryRepository(database)
    ended(database)
    ended(database)
    done, waiting = repository.due(2)
    claimed = repository.claim(done, 30)
    assert claimed is not None
    repository.delivered(claimed, FINE)
    with database.write() as connection:
        connection.execute(update(deliveries).values(created_at=deliveries.c.created_at - 100))
    repository.forget(1000)
    assert rows(database, deliveries) == 2
    repository.forget(50)
    assert [row["id"] for row in repository.page("", None, 10, None)] == [waiting]
    assert repository.attempts([done]) == []


def test_a_tenant_resends_its_own_only(database: Database) -> None:
    repository = DeliveryRepository(database)
    ended(database, tenant="a")
    [key] = repository.due(1)
    assert repository.resend("b", key) is None
    assert repository.resend("a", key) is not None


def test_a_hook_is_received_once_and_waits_for_its_job(database: Database) -> None:
    repository, jobs = HookRepository(database), JobRepository(database)
    key, job = HookKey("mlflow", "d"), queued(jobs)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: repository.receive(key, "t", {"n": str(n)}), range(16)))
    assert rows(database, hooks) == 1
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: repository.claim(key, 30), range(16)))
    assert sum(claim is not None for claim in claims) == 1
    repository.advance(key, WAITING, job=job)
    assert repository.due(10) == []
    jobs.close(job, CANCEL_QUEUED)
    assert repository.due(10) == [key]
    repository.advance(key, REPORTING, tags={"a": "b"})
    repository.postpone(key, 30, "later")
    assert repository.due(10) == []


def test_a_hook_whose_worker_died_is_taken_up_and_a_renewed_one_not(database: Database) -> None:
    repository = HookRepository(database)
    dead, alive = HookKey("mlflow", "dead"), HookKey("mlflow", "alive")
    for key in (dead, alive):
        repository.receive(key, "", {})
        assert repository.claim(key, 0.2) is not None
    repository.renew([alive], 30)
    time.sleep(0.3)
    assert repository.due(10) == [dead]


def test_one_secret_for_all_processes(database: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: own_secret(database, "webhooks"), range(16)))
    assert len(found) == 1
    assert own_secret(database, "others") not in found


OPEN, FIXED, UNTOLD = [-1, -1], [1, 4], list[int]()


@pytest.mark.parametrize(
    ("declared", "shapes", "expected"),
    [
        ({"x": OPEN}, [(None, (-1, 4))], {"x": [1, 4]}),
        ({"x": FIXED}, [(None, (-1, 4))], None),
        ({"x": [32, -1]}, [(None, (-1, 4))], {"x": [32, 4]}),
        ({"x": UNTOLD}, [(None, (-1, 3, 8, 8))], {"x": [1, 3, 8, 8]}),
        ({"x": OPEN}, [(None, (-1, -1))], None),
        ({"x": OPEN}, [(None, (4,))], None),
        ({"x": OPEN, "y": OPEN}, [("y", (-1, 2)), ("x", (-1, 3))], {"x": [1, 3], "y": [1, 2]}),
        ({"x": OPEN, "y": OPEN}, [("a", (-1, 2)), ("b", (-1, 3))], {"x": [1, 2], "y": [1, 3]}),
        ({"x": OPEN, "y": OPEN}, [(None, (-1, 2))], None),
    ],
)
def test_shapes_of_a_registry(declared: Any, shapes: Any, expected: Any) -> None:
    tensors = [{"name": name, "datatype": "FP32", "shape": shape} for name, shape in declared.items()]
    assert inputs_of(tensors, tuple(Shape(*shape) for shape in shapes)) == expected
