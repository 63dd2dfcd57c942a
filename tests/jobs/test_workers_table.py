"""Every host's slots, as long as somebody has seen them."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import update

from app.jobs.publisher import Publisher
from app.jobs.record import Kind
from app.jobs.recovery import Recovery
from app.jobs.slot_context import WorkerView
from app.store.database import Database
from app.store.jobs import JobRepository
from app.store.tables import workers
from app.store.workers import WorkerRepository
from tests.conftest import eventually


@pytest.fixture
def table(database: Database) -> WorkerRepository:
    return WorkerRepository(database)


def view(name: str, state: str = "idle", job: str | None = None) -> WorkerView:
    kinds = (Kind.ANALYZE, Kind.INSPECT)
    return WorkerView(name, kinds, "cpu", state, job, 7, "full", {"user": "nobody"})


def names(table: WorkerRepository, within_s: float = 30) -> list[str]:
    return [row["name"] for row in table.live(within_s)]


def miss(database: Database, supervisor: str, seconds: float) -> None:
    """Nobody has seen its slots for that long."""
    with database.write() as connection:
        unseen = update(workers).where(workers.c.supervisor == supervisor)
        connection.execute(unseen.values(seen_at=workers.c.seen_at - seconds))


def test_what_is_published_is_seen(table: WorkerRepository) -> None:
    table.publish("a-1", "a", [view("a/1", "busy", "job"), view("a/0")])
    table.publish("b-1", "b", [view("b/0", "failed")])
    first, second, third = table.live(30)
    assert (first["name"], second["name"], third["name"]) == ("a/0", "a/1", "b/0")
    told = {name: second[name] for name in ("host", "kinds", "device", "state", "job", "pid", "confinement", "details")}
    assert told == {
        "host": "a", "kinds": "analyze,inspect", "device": "cpu", "state": "busy", "job": "job", "pid": 7,
        "confinement": "full", "details": {"user": "nobody"},
    }  # fmt: skip


def test_a_publication_replaces_the_one_before(table: WorkerRepository, database: Database) -> None:
    table.publish("a-1", "a", [view("a/0"), view("a/1")])
    (before, _) = table.live(30)
    table.publish("a-1", "a", [view("a/0", "busy", "job")])
    (after,) = table.live(30)
    assert (after["state"], after["started_at"]) == ("busy", before["started_at"])
    assert after["seen_at"] >= before["seen_at"]


def test_two_supervisors_of_one_host_show_both(table: WorkerRepository) -> None:
    table.publish("a-1", "a", [view("a/0")])
    table.publish("a-2", "a", [view("a/0")])
    assert names(table) == ["a/0", "a/0"]
    table.forget("a-1")
    assert [row["supervisor"] for row in table.live(30)] == ["a-2"]


def test_what_nobody_sees_is_not_live_and_goes(table: WorkerRepository, database: Database) -> None:
    table.publish("a-1", "a", [view("a/0")])
    table.publish("b-1", "b", [view("b/0")])
    miss(database, "a-1", 31)
    assert names(table) == ["b/0"]
    table.purge(300)
    assert names(table, 1000) == ["a/0", "b/0"]
    miss(database, "a-1", 300)
    table.purge(300)
    assert names(table, 1000) == ["b/0"]


def test_the_slots_of_a_dead_supervisor_go_at_once(table: WorkerRepository, database: Database, tmp_path: Path) -> None:
    locks = tmp_path / "supervisors"
    locks.mkdir()
    (locks / "a-1").touch()
    table.publish("a-1", "a", [view("a/0")])
    table.publish("b-1", "b", [view("b/0")])
    Recovery(JobRepository(database), table, locks, 2).recover(lambda _: None)
    assert names(table) == ["b/0"]
    assert list(locks.iterdir()) == []


def test_changes_are_published_at_once_and_silence_is_filled(table: WorkerRepository, database: Database) -> None:
    state = ["idle"]
    publisher = Publisher(table, "a-1", "a", 0.3, lambda: [view("a/0", state[0])])
    publisher.start()
    eventually(lambda: names(table), lambda seen: seen == ["a/0"], within_s=2)
    state[0] = "busy"
    publisher.changed()
    eventually(lambda: table.live(30)[0]["state"], lambda seen: seen == "busy", within_s=2)
    miss(database, "a-1", 60)
    eventually(lambda: names(table), lambda seen: seen == ["a/0"], within_s=2)
    publisher.stop()
    assert names(table, 1000) == []
