"""Results are kept for a while, then a tombstone says that there was one, then nothing is left."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select, update

from app.errors import JobExpired, UnknownJob
from app.jobs.housekeeping import READING_KEPT_S, Housekeeping
from app.jobs.record import READINGS, Kind
from app.jobs.service import JobService, Submission
from app.jobs.states import FAIL, SUCCEED, Status
from app.jobs.watch import Watch
from app.settings import Settings
from app.store.database import Database
from app.store.job_queries import Filter
from app.store.jobs import JobRepository
from app.store.retention import BATCH, RetentionRepository
from app.store.tables import events, jobs, results
from app.store.workers import WorkerRepository
from tests.jobs.rows import MODEL, add_model, claimed, no_artifacts, queued, values_of
from tests.jobs.test_tenants import REQUEST, Nobody, succeed

RETENTION_S = 1000.0


@pytest.fixture
def repository(database: Database) -> JobRepository:
    return JobRepository(database, RETENTION_S)


@pytest.fixture
def service(database: Database, repository: JobRepository) -> JobService:
    add_model(database)
    return JobService(repository, Nobody(), Watch(), Settings())


@pytest.fixture
def housekeeping(database: Database) -> Housekeeping:
    return Housekeeping(
        RetentionRepository(database), WorkerRepository(database), no_artifacts(database), RETENTION_S, 30
    )


def pass_time(database: Database, seconds: float) -> None:
    """What the clock does: every time in the table is that much longer ago."""
    times = (jobs.c.created_at, jobs.c.started_at, jobs.c.finished_at, jobs.c.expires_at)
    with database.write() as connection:
        connection.execute(update(jobs).values({time: time - seconds for time in times}))


def count(database: Database, *of: object) -> list[int]:
    with database.read() as connection:
        return [connection.scalar(select(func.count()).select_from(table)) or 0 for table in of]  # type: ignore[arg-type]


def test_every_end_has_a_time_to_go(service: JobService, repository: JobRepository, database: Database) -> None:
    submission = Submission(MODEL, REQUEST, timeout_s=60)
    first = service.submit(submission)
    succeed(repository)
    again = service.submit(submission)
    canceled = service.cancel("", service.submit(Submission(MODEL, REQUEST, 60, use_cache=False)).id)
    failed = queued(repository)
    repository.finish(claimed(repository, failed), FAIL)
    for job in (first.id, again.id, canceled.id, failed):
        record = service.get("", job)
        assert record.finished_at is not None
        assert record.expires_at == pytest.approx(record.finished_at + RETENTION_S, abs=0.1)


def test_a_job_expires_leaves_a_tombstone_and_goes(
    service: JobService, repository: JobRepository, housekeeping: Housekeeping, database: Database
) -> None:
    submission = Submission(MODEL, REQUEST, timeout_s=60)
    job = service.submit(submission)
    succeed(repository)
    pass_time(database, RETENTION_S - 60)
    housekeeping.run()
    assert service.result(service.get("", job.id)) == {"upper": 2.0}
    pass_time(database, 120)
    housekeeping.run()
    assert count(database, jobs, results, events) == [1, 0, 0]
    for look in (service.get, service.witness, service.certificate, service.cancel, service.delete):
        with pytest.raises(JobExpired):
            look("", job.id)
    with pytest.raises(UnknownJob):
        service.get("acme", job.id)
    assert service.page("", Filter(), 10, None) == []
    assert service.counts()[Status.SUCCEEDED] == 0
    assert not service.submit(submission).cached
    pass_time(database, RETENTION_S)
    housekeeping.run()
    with pytest.raises(UnknownJob):
        service.get("", job.id)


def test_what_is_not_over_never_expires(
    repository: JobRepository, housekeeping: Housekeeping, database: Database
) -> None:
    waiting, running = queued(repository), queued(repository, priority=9)
    claimed(repository, running)
    pass_time(database, 10 * RETENTION_S)
    housekeeping.run()
    assert [repository.get("", job)["status"] for job in (waiting, running)] == ["queued", "running"]  # type: ignore[index]


@pytest.mark.parametrize("kind", READINGS)
def test_inspections_and_graphs_go_after_a_minute(
    repository: JobRepository, housekeeping: Housekeeping, database: Database, kind: Kind
) -> None:
    reading, analysis = queued(repository, kind=kind), queued(repository)
    for job in (reading, analysis):
        repository.finish(claimed(repository, job), SUCCEED, result={})
    housekeeping.run()
    assert repository.get("", reading) is not None
    pass_time(database, READING_KEPT_S + 1)
    housekeeping.run()
    assert repository.get("", reading) is None
    assert repository.get("", analysis) is not None


def test_a_sweep_takes_however_many_there_are(database: Database, housekeeping: Housekeeping) -> None:
    number = BATCH + 100
    with database.write() as connection:
        rows = [
            values_of(status=Status.SUCCEEDED, created_at=1.0, finished_at=1.0, expires_at=2.0 + RETENTION_S)
            for _ in range(number)
        ]
        connection.execute(jobs.insert(), rows)
    retention = RetentionRepository(database)
    assert len(retention.expire()) == number
    assert retention.expire() == []
    assert len(retention.forget(RETENTION_S)) == number
    assert count(database, jobs) == [0]
