"""PostgreSQL as the table of the service: news between processes, and a server that goes away and comes back."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from app.jobs.record import Kind
from app.jobs.states import CLAIM, REQUEUE, SUCCEED
from app.store.database import Database
from app.store.jobs import JobRepository
from app.store.line import Wanted
from app.store.notifications import Listener
from app.store.tables import jobs
from tests.conftest import RunningService, eventually, fake_model
from tests.jobs.rows import claimed, queued
from tests.servers import Missing, Server, private_postgres

Start = Callable[..., RunningService]

on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
def mortal() -> Iterator[Server]:
    """A PostgreSQL of the test's own, to kill."""
    try:
        with private_postgres() as server:
            yield server
    except Missing as missing:
        pytest.skip(str(missing))


class Ear:
    """What a listener hears."""

    def __init__(self, database: Database) -> None:
        self.changes: list[str] = []
        self.waiting: list[str] = []
        self.listener = Listener(database, self.changes.append, self.waiting.append)
        self.listener.start()

    def await_sign(self, repository: JobRepository) -> None:
        """Return once it listens."""
        eventually(lambda: (queued(repository), self.waiting)[1], bool, every_s=0.1)
        eventually(lambda: (len(self.changes), time.sleep(0.3), len(self.changes)), lambda seen: seen[0] == seen[2])
        self.changes.clear()
        self.waiting.clear()


@on_postgresql
def test_news_reach_other_processes_once_they_are_true(database: Database) -> None:
    repository, other = JobRepository(database), Database(database.engine.url.render_as_string(hide_password=False))
    ear = Ear(other)
    ear.await_sign(repository)
    job = queued(repository, priority=9)
    fence = claimed(repository, job)
    repository.report(fence, {"done": 1})
    repository.release(fence, REQUEUE, losses=0)
    repository.finish(claimed(repository, job), SUCCEED, result={})
    eventually(lambda: ear.changes, lambda seen: len(seen) >= 6)
    assert ear.changes == [job] * 6
    assert ear.waiting == [job] * 2
    with database.engine.connect() as connection:
        connection.exec_driver_sql("SELECT pg_notify('lipserve', 'not true')")
        connection.rollback()
    queued(repository)
    eventually(lambda: ear.waiting, lambda seen: len(seen) == 3)
    assert "not true" not in ear.changes
    ear.listener.stop()
    other.close()


@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_listener_comes_back_with_its_server(mortal: Server, times: int) -> None:
    database = Database(mortal.url)
    database.migrate()
    repository, ear = JobRepository(database), Ear(database)
    ear.await_sign(repository)
    for _ in range(times):
        mortal.kill()
        with pytest.raises(OperationalError):
            queued(repository)
        time.sleep(0.5)
        mortal.start()
        ear.waiting.clear()
        ear.await_sign(repository)
    ear.listener.stop()
    database.close()


@on_postgresql
def test_a_claim_passes_over_a_job_that_is_being_claimed(database: Database) -> None:
    repository = JobRepository(database)
    first, second = queued(repository), queued(repository)
    with ThreadPoolExecutor(1) as pool, database.write() as another:
        another.execute(select(jobs.c.id).where(jobs.c.id == first).with_for_update())
        row = pool.submit(repository.claim, CLAIM, Wanted((Kind.ANALYZE,)), "me", 30).result(timeout=20)
    assert row is not None
    assert row["id"] == second


def test_nothing_is_heard_on_sqlite_and_nothing_hangs(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/test.db")
    listener = Listener(database, lambda _: None, lambda _: None)
    listener.start()
    listener.stop()
    database.close()


@pytest.mark.slow
@on_postgresql
def test_jobs_finish_once_after_a_kill(start_service: Start, database_url: str, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    service = start_service(database_url=database_url)
    model = service.upload(fake_model(analyze={"do": "sleep", "seconds": 0.5}, ledger=str(ledger)))
    jobs = [service.client.post("/v1/jobs", json={"model": model, "seed": seed}).json()["id"] for seed in range(4)]
    eventually(lambda: service.client.get(f"/v1/jobs/{jobs[0]}").json()["status"], lambda status: status == "running")
    service.kill()
    service.start()
    finished = [service.finished(job) for job in jobs]
    assert {job["status"] for job in finished} == {"succeeded"}
    assert [job["attempt"] for job in finished] == [2] + [1] * 3
    assert sorted(int(seed) for seed in ledger.read_text().split()) == list(range(4))


@on_postgresql
def test_a_job_of_one_process_is_rung_in_another(start_service: Start, database_url: str) -> None:
    """Nobody looks unasked within the test: only the database can have said it."""
    worker = start_service(database_url=database_url, poll_s=600)
    front = start_service(database_url=database_url, poll_s=600, local_workers=False)
    model = front.upload(fake_model())
    job = front.client.post("/v1/jobs", json={"model": model}, headers={"Prefer": "wait=30"}).json()
    assert job["status"] == "succeeded"
    shown = [service.client.get("/v1/workers").json()["workers"] for service in (front, worker)]
    assert [{entry["name"] for entry in workers} for workers in shown] == [{w["name"] for w in shown[1]}] * 2
    assert job["worker"] in {entry["name"] for entry in shown[0]}


@pytest.mark.slow
@on_postgresql
def test_the_job_of_a_host_that_froze_runs_elsewhere_and_has_one_result(database_url: str, tmp_path: Path) -> None:
    shared = {"database_url": database_url, "blob_url": str(tmp_path / "shared"), "lease_s": 2}
    frozen, other = (RunningService(tmp_path / name, host_name=name, **shared) for name in ("frozen", "other"))
    try:
        frozen.start()
        job = frozen.analyze(fake_model(analyze={"do": "sleep", "seconds": 2}), wait=None).json()
        eventually(lambda: seen(frozen, job)["status"], lambda status: status == "running")
        os.kill(frozen.pid, signal.SIGSTOP)
        other.start()
        finished = other.finished(job["id"])
        assert (finished["status"], finished["attempt"], finished["worker"]) == ("succeeded", 2, "other/0")
        os.kill(frozen.pid, signal.SIGCONT)
        eventually(frozen.log, lambda log: "lease is lost" in log)
        assert other.client.get(job["urls"]["self"]).json() == finished
        events = other.client.get(job["urls"]["events"]).json()["events"]
        statuses = [event["data"]["status"] for event in events if event["type"] == "status"]
        assert statuses == ["queued", "running", "queued", "running", "succeeded"]
        eventually(lambda: hosts(other), lambda hosts: hosts == {"frozen", "other"})
        frozen.terminate()
        assert hosts(other) == {"other"}
    finally:
        frozen.stop()
        other.stop()


def hosts(service: RunningService) -> set[str]:
    """The hosts that the service shows."""
    return {worker["name"].partition("/")[0] for worker in service.client.get("/v1/workers").json()["workers"]}


@pytest.mark.slow
def test_a_running_job_outlives_a_restart_of_the_database(start_service: Start, mortal: Server, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    service = start_service(database_url=mortal.url)
    slow = fake_model(analyze={"do": "sleep", "seconds": 1.5}, ledger=str(ledger))
    job = service.analyze(slow, wait=None, seed=7).json()
    eventually(lambda: service.client.get(job["urls"]["self"]).json()["status"], lambda status: status == "running")
    mortal.kill()
    assert service.client.get("/readyz").status_code == 503
    assert service.client.get("/livez").status_code == 200
    away = service.client.get(job["urls"]["self"])
    assert (away.status_code, away.json()["type"]) == (503, "urn:lipserve:problem:database-unavailable")
    assert away.headers["Retry-After"]
    time.sleep(0.5)
    mortal.start()
    finished = eventually(lambda: seen(service, job), lambda job: job.get("finished_at"), within_s=30)
    assert (finished["status"], finished["attempt"]) == ("succeeded", 1)
    assert ledger.read_text().split() == ["7"]
    assert service.analyze(fake_model(after="the outage")).json()["status"] == "succeeded"


@pytest.mark.slow
def test_a_job_whose_lease_ends_in_an_outage_runs_again(start_service: Start, mortal: Server, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    service = start_service(database_url=mortal.url, lease_s=2)
    slow = fake_model(analyze={"do": "sleep", "seconds": 5}, ledger=str(ledger))
    job = service.analyze(slow, wait=None, seed=7).json()
    eventually(lambda: service.client.get(job["urls"]["self"]).json()["status"], lambda status: status == "running")
    mortal.kill()
    time.sleep(3)
    mortal.start()
    finished = eventually(lambda: seen(service, job), lambda job: job.get("finished_at"), within_s=40)
    assert (finished["status"], finished["attempt"]) == ("succeeded", 2)
    assert ledger.read_text().split() == ["7"]


def seen(service: RunningService, job: dict[str, dict[str, str]]) -> dict[str, object]:
    """The job, or the problem of a service without its database."""
    return dict(service.client.get(job["urls"]["self"]).json())
