"""The state machine: terminal states never change, and a lost hold changes nothing."""

import re
from pathlib import Path

import pytest

from app.jobs import states
from app.jobs.states import (
    ACTIVE,
    CLAIM,
    FAIL,
    HELD,
    REQUEUE,
    SUCCEED,
    TERMINAL,
    Status,
)
from app.store.blobs import Blobs
from app.store.database import Database
from app.store.jobs import JobRepository
from app.store.transitions import Move
from app.store.uploads import model_repository
from tests.conftest import ROOT
from tests.jobs.rows import ANALYSES, claimed, queued

MOVES = [move for move in vars(states).values() if isinstance(move, Move)]


@pytest.fixture
def repository(database: Database) -> JobRepository:
    return JobRepository(database)


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


def test_moves_are_made_nowhere_else() -> None:
    makers = {path.name for path in (ROOT / "app").rglob("*.py") if re.search(r"\bMove\(", path.read_text())}
    assert makers == {"states.py"}


def test_the_documentation_draws_every_move_and_no_other() -> None:
    text = (ROOT / "docs" / "jobs.md").read_text()
    drawn = re.findall(r"^ +(\w+) --> (\w+): ", text, re.MULTILINE)
    assert len(drawn) == len(set(drawn))
    assert set(drawn) == {(str(source), str(move.target)) for move in MOVES for source in move.sources}


def test_what_has_an_end_never_moves_again(repository: JobRepository) -> None:
    fence = claimed(repository, queued(repository))
    repository.finish(fence, FAIL, error={"detail": "first"})
    before = repository.get("", fence.job)
    lawless = Move((Status.FAILED,), Status.QUEUED)
    assert repository.change(fence.job, lawless) is None
    assert repository.release(fence, lawless, losses=1) is None
    assert repository.finish(fence, Move((Status.FAILED,), Status.SUCCEEDED), result={}) is None
    repository.report(fence, {"phase": "late"})
    assert repository.get("", fence.job) == before
    assert [row["type"] for row in repository.events(fence.job, 0, 9)] == ["status"] * 3


def test_only_one_of_many_claims_wins(repository: JobRepository) -> None:
    job = queued(repository)
    claims = [repository.claim(CLAIM, ANALYSES, owner, 30, worker="w", device="d") for owner in "abc"]
    assert [row and row["id"] for row in claims] == [job, None, None]


def test_a_lost_hold_changes_nothing(repository: JobRepository) -> None:
    job = queued(repository)
    old = claimed(repository, job)
    repository.release(old, REQUEUE, losses=1)
    new = claimed(repository, job)
    assert new.attempt == old.attempt + 1
    before = repository.get("", job)
    assert repository.finish(old, SUCCEED, result={"doubled": True}) is None
    assert repository.release(old, REQUEUE, losses=1) is None
    assert not repository.beat(old, 30)
    assert repository.held_status(old) is None
    repository.report(old, {"phase": "late"})
    assert repository.get("", job) == before
    assert repository.result(job) is None


def test_a_lease_expires_by_the_databases_clock(repository: JobRepository) -> None:
    job = queued(repository)
    fence = claimed(repository, job, lease_s=-1)

    def is_over() -> bool:
        return next(bool(row["lease_is_over"]) for row in repository.held(HELD) if row["id"] == job)

    assert is_over()
    assert repository.beat(fence, 30)
    assert not is_over()


def test_a_file_is_moved_and_removed_with_its_row(database: Database, tmp_path: Path) -> None:
    blobs, models = Blobs(tmp_path, 100, 0), model_repository(database)
    staged = blobs.stage()
    staged.write(b"abc")
    values = {"tenant": "", "id": staged.sha256, "name": "n", "format": "onnx", "size_bytes": 3, "inspection": {}}

    def fail() -> None:
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="gone"):
        models.add(values, fail)
    assert models.get("", staged.sha256) is None
    assert models.add(values, lambda: blobs.keep(staged))
    assert not models.add(values, lambda: blobs.keep(staged))
    staged.close()
    assert (tmp_path / Blobs.key(staged.sha256)).read_bytes() == b"abc"
    with pytest.raises(OSError, match="gone"):
        models.remove("", staged.sha256, ACTIVE, fail)
    assert models.get("", staged.sha256) is not None
    assert models.remove("", staged.sha256, ACTIVE, lambda: blobs.remove(staged.sha256))
    assert not blobs.exists(staged.sha256)
