"""Who may wait, for how long, and who is next; all of it exact with many at once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import insert, update

from app.errors import QueueFull, QuotaExceeded
from app.jobs.housekeeping import Housekeeping
from app.jobs.record import Kind
from app.jobs.service import JobService, Submission
from app.jobs.states import CLAIM, REQUEUE, SUCCEED, Status
from app.jobs.watch import Watch
from app.settings import Settings
from app.store.admission import QueueTerms
from app.store.clock import now
from app.store.database import Database
from app.store.jobs import JobRepository
from app.store.line import Wanted
from app.store.retention import RetentionRepository
from app.store.tables import idempotency, jobs
from app.store.workers import WorkerRepository
from tests.jobs.rows import ANALYSES, MODEL, ROOMY, add_model, claimed, no_artifacts, queued, status_of, values_of
from tests.jobs.test_tenants import REQUEST, Nobody

THREADS = 16
QUEUE_FULL = "429 queue-full 10"
QUOTA_EXCEEDED = "429 quota-exceeded 10"


@pytest.fixture
def repository(database: Database) -> JobRepository:
    add_model(database)
    return JobRepository(database)


def at_once(work: Callable[[], object]) -> list[object]:
    """What `work` gives to each of several threads that start together."""
    start = threading.Barrier(THREADS)

    def run() -> object:
        start.wait()
        return work()

    with ThreadPoolExecutor(THREADS) as pool:
        return [future.result() for future in [pool.submit(run) for _ in range(THREADS)]]


def outcome(repository: JobRepository, terms: QueueTerms, tenant: str = "") -> str:
    try:
        row = repository.insert_analysis(values_of(tenant=tenant), terms)
    except (QueueFull, QuotaExceeded) as problem:
        return f"{problem.status} {problem.slug} {problem.headers['Retry-After']}"
    assert row is not None
    return str(row["status"])


def test_many_slots_take_each_job_once(repository: JobRepository) -> None:
    expected = {queued(repository) for _ in range(200)}

    def take_all() -> list[str]:
        taken = []
        while row := repository.claim(CLAIM, ANALYSES, threading.current_thread().name, 30, worker="w"):
            taken.append(row["id"])
        return taken

    taken = [job for part in at_once(take_all) for job in part]  # type: ignore[attr-defined]
    assert len(taken) == 200
    assert set(taken) == expected
    assert {row["attempt"] for row in repository.held([Status.RUNNING])} == {1}


def test_the_most_urgent_is_next_then_the_oldest(repository: JobRepository) -> None:
    low, first, second, high = (queued(repository, priority=priority) for priority in (1, 5, 5, 9))
    queued(repository, kind=Kind.INSPECT, priority=9)
    order = []
    while row := repository.claim(CLAIM, ANALYSES, "me", 30):
        order.append(row["id"])
    assert order == [high, first, second, low]
    assert not repository.is_waiting(CLAIM, ANALYSES)
    assert repository.is_waiting(CLAIM, Wanted((Kind.ANALYZE, Kind.INSPECT)))


def test_the_limits_hold_exactly_with_many_at_once(repository: JobRepository, database: Database) -> None:
    add_model(database, "acme")
    total = QueueTerms(max_queued=20, max_per_tenant=100, wait_s=60)
    seen = Counter(slug for part in at_once(lambda: [outcome(repository, total) for _ in range(3)]) for slug in part)
    assert seen == {"queued": 20, QUEUE_FULL: 3 * THREADS - 20}
    own = QueueTerms(max_queued=1000, max_per_tenant=20, wait_s=60)
    assert outcome(repository, own) == QUOTA_EXCEEDED
    seen = Counter(
        slug for part in at_once(lambda: [outcome(repository, own, "acme") for _ in range(3)]) for slug in part
    )
    assert seen == {"queued": 20, QUOTA_EXCEEDED: 3 * THREADS - 20}


def test_what_runs_does_not_wait(repository: JobRepository) -> None:
    one = QueueTerms(max_queued=1, max_per_tenant=1, wait_s=60)
    assert outcome(repository, one) == "queued"
    assert outcome(repository, one) == QUOTA_EXCEEDED
    row = repository.claim(CLAIM, ANALYSES, "me", 30)
    assert row is not None
    assert outcome(repository, one) == "queued"


def test_a_job_needs_its_files(repository: JobRepository) -> None:
    assert repository.insert_analysis(values_of(model="b" * 64), ROOMY) is None
    assert repository.insert_analysis(values_of(dataset="b" * 64), ROOMY) is None
    assert repository.insert_analysis(values_of(tenant="acme"), ROOMY) is None


def test_a_wait_has_an_end(repository: JobRepository, database: Database) -> None:
    housekeeping = Housekeeping(
        RetentionRepository(database), WorkerRepository(database), no_artifacts(database), 60, 30
    )
    late = repository.insert_analysis(values_of(), QueueTerms(10, 10, wait_s=-1))
    patient = repository.insert_analysis(values_of(), ROOMY)
    assert late is not None
    assert patient is not None
    assert housekeeping.run() == [late["id"]]
    assert housekeeping.run() == []
    row = repository.get("", late["id"])
    assert row is not None
    assert (row["status"], row["error"]["type"]) == ("timed_out", "urn:lipserve:problem:queue-deadline")
    assert row["error"]["status"] == 504
    assert row["finished_at"] is not None
    assert status_of(repository, patient["id"]) is Status.QUEUED


def test_the_request_or_the_setting_says_how_long_and_how_many(repository: JobRepository) -> None:
    settings = Settings(queue_timeout_s=500, max_queued=3, max_queued_per_owner=2)
    service = JobService(repository, Nobody(), Watch(), settings)
    asked = Submission(MODEL, REQUEST, timeout_s=60)
    jobs = [service.submit(asked), service.submit(replace(asked, queue_timeout_s=7.0))]
    waits = [job.start_by - job.created_at for job in jobs if job.start_by is not None]
    assert waits == pytest.approx([500, 7], abs=1)
    with pytest.raises(QuotaExceeded):
        service.submit(asked)
    assert service.cancel("", jobs[0].id).status is Status.CANCELED
    assert service.submit(asked).status is Status.QUEUED


def test_time_that_a_job_ran_is_no_wait(repository: JobRepository, database: Database) -> None:
    row = repository.insert_analysis(values_of(), ROOMY)
    assert row is not None
    fence = claimed(repository, row["id"])
    with database.write() as connection:
        connection.execute(update(jobs).values(started_at=now() - 1000))
    assert repository.release(fence, REQUEUE, losses=1)
    again = repository.get("", row["id"])
    assert again is not None
    assert again["start_by"] - row["start_by"] == pytest.approx(1000, abs=10)


def begun(database: Database, tenant: str = "") -> None:
    with database.write() as connection:
        row = {"tenant": tenant, "key": "key", "fingerprint": "f", "created_at": now(), "renewed_at": now()}
        connection.execute(insert(idempotency).values(row))


def test_a_key_makes_one_job_however_many_ask(repository: JobRepository, database: Database) -> None:
    begun(database)
    made = at_once(lambda: repository.insert_analysis(values_of(), ROOMY, "key"))
    assert len({row["id"] for row in made}) == 1  # type: ignore[index]
    assert sum(repository.counts().values()) == 1
    begun(database, "acme")
    add_model(database, "acme")
    other = repository.insert_analysis(values_of(tenant="acme"), ROOMY, "key")
    assert other is not None
    assert other["tenant"] == "acme"


def test_a_key_is_bound_with_the_job_or_not_at_all(repository: JobRepository, database: Database) -> None:
    begun(database)
    assert repository.insert_analysis(values_of(model="b" * 64), ROOMY, "key") is None
    first = repository.insert_analysis(values_of(), ROOMY, "key")
    full = QueueTerms(0, 0, 60)
    assert repository.insert_analysis(values_of(), full, "key") == first


def test_a_copy_of_a_result_is_bound_to_its_key(repository: JobRepository, database: Database) -> None:
    source = queued(repository)
    repository.finish(claimed(repository, source), SUCCEED, result={"upper": 2.0})
    begun(database)
    copies = at_once(lambda: repository.insert_copy(values_of(status=Status.SUCCEEDED), source, "key"))
    assert len({row["id"] for row in copies}) == 1  # type: ignore[index]
    assert repository.result(copies[0]["id"]) == {"upper": 2.0}  # type: ignore[index]
