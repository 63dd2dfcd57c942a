"""Any order of claims, losses, cancels and late writers: what is over stays as it is, with one result at most."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import delete

from app.jobs.record import JobRecord
from app.jobs.recovery import Recovery
from app.jobs.states import (
    CANCEL_QUEUED,
    CANCEL_RUNNING,
    CANCELED,
    CLAIM,
    FAIL,
    OVERDUE,
    REQUEUE,
    SUCCEED,
    TERMINAL,
    TIME_OUT,
    Status,
)
from app.store.database import Database
from app.store.jobs import JobRepository
from app.store.retention import RetentionRepository
from app.store.tables import jobs
from app.store.transitions import Fence
from app.store.workers import WorkerRepository
from tests.effort import examples
from tests.jobs.rows import ANALYSES, queued

MAX_LOSSES = 1
OVER = -1.0


class JobMachine(RuleBasedStateMachine):
    """Some jobs, and every hold that anybody ever had on one of them; a hold once had may write at any time."""

    home = tempfile.TemporaryDirectory()
    database = Database(f"sqlite:///{home.name}/test.db")
    database.migrate()

    def __init__(self) -> None:
        super().__init__()
        with self.database.write() as connection:
            connection.execute(delete(jobs))
        self.repository = JobRepository(self.database)
        self.recovery = Recovery(self.repository, WorkerRepository(self.database), Path(self.home.name), MAX_LOSSES)
        self.jobs: list[str] = []
        self.fences: list[Fence] = []
        self.ends: dict[str, tuple[Any, ...]] = {}
        self.results: dict[str, int] = {}

    @rule(priority=st.integers(0, 9), is_overdue=st.booleans())
    def submit(self, priority: int, is_overdue: bool) -> None:
        given = {"start_by": 0.0} if is_overdue else {}
        self.jobs.append(queued(self.repository, priority=priority, **given))

    @rule(owner=st.sampled_from("abc"), lease_s=st.sampled_from([30.0, OVER]))
    def claim(self, owner: str, lease_s: float) -> None:
        waiting = [self.row(job) for job in self.jobs if self.row(job)["status"] == Status.QUEUED]
        row = self.repository.claim(CLAIM, ANALYSES, owner, lease_s, worker="w", device="d")
        assert (row is None) == (not waiting)
        if row is not None:
            best = min(waiting, key=lambda row: (-row["priority"], row["created_at"], row["id"]))
            assert row["id"] == best["id"]
            assert row["attempt"] == best["attempt"] + 1
            self.fences.append(JobRecord.of(row).fence)

    @precondition(lambda self: self.fences)
    @rule(data=st.data(), move=st.sampled_from([SUCCEED, FAIL, TIME_OUT, CANCELED]))
    def finish(self, data: st.DataObject, move: Any) -> None:
        fence = data.draw(st.sampled_from(self.fences))
        result = {"attempt": fence.attempt} if move is SUCCEED else None
        before = self.row(fence.job)
        row = self.repository.finish(fence, move, result=result)
        assert (row is not None) == (self.holds(fence, before) and before["status"] in move.sources)
        if row is not None and result is not None:
            assert fence.job not in self.results
            self.results[fence.job] = fence.attempt

    @precondition(lambda self: self.fences)
    @rule(data=st.data())
    def requeue(self, data: st.DataObject) -> None:
        self.repository.release(data.draw(st.sampled_from(self.fences)), REQUEUE, losses=0)

    @precondition(lambda self: self.fences)
    @rule(data=st.data(), lease_s=st.sampled_from([30.0, OVER]))
    def beat(self, data: st.DataObject, lease_s: float) -> None:
        fence = data.draw(st.sampled_from(self.fences))
        before = self.row(fence.job)
        assert self.repository.beat(fence, lease_s) == self.holds(fence, before)
        self.repository.report(fence, {"attempt": fence.attempt})

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.jobs))
        self.repository.close(job, CANCEL_QUEUED) or self.repository.change(job, CANCEL_RUNNING)
        assert self.row(job)["status"] in (*TERMINAL, Status.CANCELING)

    @rule()
    def recover(self) -> None:
        self.recovery.recover(lambda _: None)
        held = [row for row in map(self.row, self.jobs) if row["status"] in (Status.RUNNING, Status.CANCELING)]
        assert all(row["lease_until"] > row["created_at"] for row in held)
        assert all(self.row(job)["losses"] <= MAX_LOSSES for job in self.jobs)

    @rule()
    def end_what_waits_too_long(self) -> None:
        ended = RetentionRepository(self.database).close_overdue(OVERDUE, 60, lambda job: {"detail": job})
        assert all(self.row(job)["status"] == Status.TIMED_OUT for job in ended)
        waiting = [row for row in map(self.row, self.jobs) if row["status"] == Status.QUEUED]
        assert all(row["start_by"] is None or row["start_by"] > row["created_at"] for row in waiting)

    @invariant()
    def ends_are_for_ever(self) -> None:
        for job in self.jobs:
            row = self.row(job)
            assert (row["status"] in TERMINAL) == (row["finished_at"] is not None)
            if row["finished_at"] is not None:
                end = (*row.values(), self.repository.events(job, 0, 1000))
                assert self.ends.setdefault(job, end) == end

    @invariant()
    def results_are_of_the_hold_that_succeeded(self) -> None:
        found = {job: self.repository.result(job) for job in self.jobs}
        assert {job: told["attempt"] for job, told in found.items() if told} == self.results
        assert {job for job in self.jobs if self.row(job)["status"] == Status.SUCCEEDED} == set(self.results)

    def row(self, job: str) -> Any:
        return self.repository.get("", job)

    def holds(self, fence: Fence, row: Any) -> bool:
        mine = (row["owner"], row["attempt"]) == (fence.owner, fence.attempt)
        return mine and row["status"] in (Status.RUNNING, Status.CANCELING)


JobMachine.TestCase.settings = settings(examples(40), stateful_step_count=30)
TestJobs = JobMachine.TestCase
