"""One claimed job while a child works on it: hear what it says, attend to the job, and know when it is over."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..contract.plain import Json
from ..errors import OutOfMemory, Problem, TimeLimit, WorkerCrashed, WorkerProtocol
from ..settings import Settings
from ..store.transitions import Move
from . import memory
from .child import Child, ChildDied, Message, ProtocolBroken
from .hold import Hold, Lost
from .record import JobRecord
from .states import CANCELED, FAIL, REQUEUE, TIME_OUT, Status
from .talk import Question, hear

ATTENTION_S = 0.1
"""How often a running job's row is looked at for a cancel request."""
SLOWER_AFTER = 500
"""Stored reports of one job after which the least time between two doubles, so that no job fills the database."""


@dataclass(frozen=True)
class Ending:
    """How the job ended; `move` is None when it is no longer ours."""

    move: Move | None
    error: Problem | None = None
    result: Json | None = None
    witness: bytes | None = None
    certificate: Json | None = None
    radii: bytes | None = None
    has_outstayed: bool = False


class Over(Exception):
    """The job is over for us while a child still works on it."""

    def __init__(self, ending: Ending) -> None:
        super().__init__()
        self.ending = ending


class Execution:
    """Reads children's messages, beats the heart, watches the clock, the cancel request and the lease."""

    def __init__(
        self,
        job: JobRecord,
        hold: Hold,
        settings: Settings,
        *,
        is_stopping: Callable[[], bool],
        on_progress: Callable[[str], None],
        stay_s: float = math.inf,
    ) -> None:
        """`stay_s`: for how long the job may have this child; after that it goes back to the queue."""
        self._job = job
        self._hold = hold
        self._progress_s = settings.progress_s
        self._reports = 0
        self._is_stopping = is_stopping
        self._on_progress = on_progress
        start = time.monotonic()
        self._deadline = start + job.timeout_s
        self._leaves_at = start + stay_s
        self._look_at = start + ATTENTION_S
        self._report_at = start + self._progress_s
        self._progress: Json | None = None
        self._kills = memory.kills()

    def ask(self, child: Child, question: Question) -> Message:
        """The child's first answer that is no report of progress; raises Over where there is none, OSError where a
        file cannot be read, and what a sink raises.
        """
        with self._mishaps():
            question.put_to(child)
        message = self.hear(child)
        assert message is not None
        return message

    def hear(self, child: Child, within_s: float = math.inf) -> Message | None:
        """The child's next answer, None where none comes in time; raises as `ask`."""
        with self._mishaps():
            return hear(child, self, within_s)

    def finish(self, child: Child) -> None:
        """The child has answered; Over where it goes on speaking."""
        with self._mishaps():
            child.end_turn()

    def note(self, progress: Json) -> None:
        """How far the job has come."""
        self._progress = progress

    def tend(self) -> None:
        """What has to be done now and then, whether a child speaks or not; raises Over."""
        now = time.monotonic()
        if now >= self._deadline:
            limit = f"{self._job.timeout_s:g} s"
            raise Over(Ending(TIME_OUT, TimeLimit(f"The job was stopped at its time limit of {limit}.")))
        if now >= self._leaves_at:
            raise Over(Ending(REQUEUE, has_outstayed=True))
        if now >= self._look_at:
            self._look_at = now + ATTENTION_S
            self._look()

    def is_wanted(self) -> bool:
        """Whether the job is still to be worked on."""
        try:
            self.tend()
        except Over:
            return False
        return True

    def _look(self) -> None:
        if self._is_stopping():
            raise Over(Ending(REQUEUE))
        try:
            status = self._hold.look()
        except Lost:
            raise Over(Ending(None)) from None
        if status == Status.CANCELING:
            raise Over(Ending(CANCELED))
        self._report_when_due()

    def _report_when_due(self) -> None:
        if self._progress is None or time.monotonic() < self._report_at:
            return
        try:
            is_stored = self._hold.report(self._progress)
        except Lost:
            raise Over(Ending(None)) from None
        if is_stored:
            self._on_progress(self._job.id)
            self._progress = None
            self._reports += 1
        self._report_at = time.monotonic() + self._progress_s * 2.0 ** (self._reports // SLOWER_AFTER)

    @contextmanager
    def _mishaps(self) -> Iterator[None]:
        """What can happen to a child is the job's end."""
        try:
            yield
        except ChildDied as death:
            raise Over(Ending(FAIL, self._problem(death))) from death
        except ProtocolBroken as breach:
            detail = f"The process that ran the job was stopped: {breach}."
            raise Over(Ending(FAIL, WorkerProtocol(detail))) from breach

    def _problem(self, death: ChildDied) -> Problem:
        """What the child died of, as far as that can be known."""
        was_chosen = death.code == -signal.SIGKILL and memory.kills() > self._kills
        if death.is_exhausted or was_chosen:
            return OutOfMemory(f"The process that ran the job {death}: memory ran out.")
        return WorkerCrashed(f"The process that ran the job {death}.")
