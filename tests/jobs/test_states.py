"""The state machine: terminal states never change, and a lost hold changes nothing."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.jobs.record import JobRecord, Kind
from app.jobs.states import (
    ACTIVE,
    CANCEL_QUEUED,
    CANCEL_RUNNING,
    CANCELED,
    CLAIM,
    FAIL,
    HELD,
    REQUEUE,
    SUCCEED,
    TERMINAL,
    TIME_OUT,
    Status,
)
from app.store.blobs import Blobs
from app.store.database import Database
from app.store.jobs import Fence, JobRepository
from app.store.uploads import model_repository

MOVES = (CLAIM, SUCCEED, FAIL, TIME_OUT, REQUEUE, CANCEL_QUEUED, CANCEL_RUNNING, CANCELED)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Database:
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('states')}/test.db")
    database.migrate()
    return database


@pytest.fixture(scope="module")
def repository(database: Database) -> JobRepository:
    return JobRepository(database)


numbers = itertools.count()


def queued(repository: JobRepository, kind: Kind = Kind.INSPECT, priority: int = 5) -> str:
    values = {
        "id": f"job-{next(numbers)}", "kind": kind, "status": Status.QUEUED, "model": "m", "blob": "b",
        "request": {}, "methods": "", "metadata": {}, "cache_key": "", "cached": False,
        "priority": priority, "timeout_s": 1.0, "attempt": 0, "losses": 0, "has_witness": False,
    }  # fmt: skip
    return str(repository.insert(values)["id"])


def test_every_status_is_active_or_terminal_and_no_move_leaves_a_terminal_one() -> None:
    assert {*ACTIVE, *TERMINAL} == set(Status)
    assert not {*ACTIVE} & {*TERMINAL}
    assert {source for move in MOVES for source in move.sources} == {*ACTIVE}
    assert {*HELD} < {*ACTIVE}


def test_every_status_can_be_reached_and_left() -> None:
    reached = {Status.QUEUED}
    for _ in MOVES:
        reached |= {Status(move.target) for move in MOVES if reached & {*move.sources}}
    assert reached == set(Status)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["claim", "succeed", "fail", "time out", "requeue", "cancel", "end"]), max_size=8))
def test_any_sequence_of_requests_keeps_the_machine(repository: JobRepository, requests: list[str]) -> None:
    job = queued(repository)
    fence, history = Fence(job, "me", 0), [Status.QUEUED]
    for request in requests:
        if request == "claim":
            row = repository.claim(job, CLAIM, "me", 30, worker="w", device="cpu")
            fence = JobRecord.of(row).fence if row else fence
        elif request == "cancel":
            repository.close(job, CANCEL_QUEUED) or repository.change(job, CANCEL_RUNNING)
        elif request == "requeue":
            repository.release(fence, REQUEUE, losses=1)
        else:
            moves = {"succeed": SUCCEED, "fail": FAIL, "time out": TIME_OUT, "end": CANCELED}
            repository.finish(fence, moves[request], result={} if request == "succeed" else None)
        history.append(JobRecord.of(repository.get(job)).status)
    allowed = {(Status(source), Status(move.target)) for move in MOVES for source in move.sources}
    steps = [(old, new) for old, new in itertools.pairwise(history) if old != new]
    assert set(steps) <= allowed
    recorded = [row["data"]["status"] for row in repository.events(job, 0, 100)]
    assert recorded == [Status.QUEUED, *(new for _, new in steps)]


def test_only_one_of_many_claims_wins(repository: JobRepository) -> None:
    job = queued(repository)
    claims = [repository.claim(job, CLAIM, owner, 30, worker="w", device="d") for owner in "abc"]
    assert [row is not None for row in claims] == [True, False, False]


def test_a_lost_hold_changes_nothing(repository: JobRepository) -> None:
    job = queued(repository)
    old = JobRecord.of(repository.claim(job, CLAIM, "a", 30, worker="w", device="d")).fence
    repository.release(old, REQUEUE, losses=1)
    new = JobRecord.of(repository.claim(job, CLAIM, "a", 30, worker="w", device="d")).fence
    assert new.attempt == old.attempt + 1
    before = repository.get(job)
    assert repository.finish(old, SUCCEED, result={"doubled": True}) is None
    assert repository.release(old, REQUEUE, losses=1) is None
    assert not repository.beat(old, 30)
    assert repository.held_status(old) is None
    repository.report(old, {"phase": "late"})
    assert repository.get(job) == before
    assert repository.result(job) is None


def test_a_lease_expires_by_the_databases_clock(repository: JobRepository) -> None:
    job = queued(repository)
    fence = JobRecord.of(repository.claim(job, CLAIM, "a", -1, worker="w", device="d")).fence

    def expired() -> bool:
        return next(bool(row["expired"]) for row in repository.held(HELD) if row["id"] == job)

    assert expired()
    assert repository.beat(fence, 30)
    assert not expired()


def test_a_file_is_moved_and_removed_with_its_row(database: Database, tmp_path: Path) -> None:
    blobs, models = Blobs(tmp_path, 100, 0), model_repository(database)
    staged = blobs.stage()
    staged.write(b"abc")
    values = {"id": staged.sha256, "name": "n", "format": "onnx", "size_bytes": 3, "inspection": {}}

    def fail() -> None:
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="gone"):
        models.add(values, fail)
    assert models.get(staged.sha256) is None
    assert models.add(values, lambda: blobs.keep(staged))
    assert not models.add(values, lambda: blobs.keep(staged))
    staged.close()
    assert blobs.path(Blobs.key(staged.sha256)).read_bytes() == b"abc"
    with pytest.raises(OSError, match="gone"):
        models.remove(staged.sha256, ACTIVE, fail)
    assert models.get(staged.sha256) is not None
    assert models.remove(staged.sha256, ACTIVE, lambda: blobs.remove(staged.sha256))
    assert not blobs.exists(staged.sha256)
