"""One claimed job on one child: attend to it until it ends, and know how it ended."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from app.contract.messages import NoMessage, read_certificate
from app.errors import OutOfMemory, Problem, StorageUnavailable, TimeLimit, WorkerCrashed, WorkerProtocol, from_slug
from app.jobs import memory
from app.jobs.child import Child, ChildDied, Message, ProtocolBroken, Sink
from app.jobs.hold import Hold, Lost
from app.jobs.record import JobRecord, Kind
from app.jobs.states import CANCELED, FAIL, REQUEUE, SUCCEED, TIME_OUT, Status
from app.settings import Settings
from app.store.transitions import Move

ATTENTION_S = 0.1
"""How often a running job's row is looked at for a cancel request."""
SLOWER_AFTER = 500
"""Stored reports of one job after which the least time between two doubles, so that no job fills the database."""

ANSWERS: Mapping[Kind, Collection[str]] = {
    Kind.INSPECT: ("inspection", "error"),
    Kind.GRAPH: ("graph", "error"),
    Kind.ANALYZE: ("progress", "result", "error"),
}
"""What a child may say to each kind of job."""


@dataclass(frozen=True)
class Ending:
    """How the job ended. `move` is None when it is no longer ours; only an idle child is kept."""

    move: Move | None
    child_is_idle: bool = False
    error: Problem | None = None
    result: dict[str, Any] | None = None
    witness: bytes | None = None
    certificate: dict[str, Any] | None = None
    has_outstayed: bool = False


class Execution:
    """Reads the child's messages, beats the heart, watches the clock, the cancel request and the lease."""

    def __init__(
        self,
        job: JobRecord,
        child: Child,
        hold: Hold,
        settings: Settings,
        is_stopping: Callable[[], bool],
        on_progress: Callable[[str], None],
        stay_s: float = math.inf,
    ) -> None:
        """`stay_s`: for how long the job may have this child; after that it goes back to the queue."""
        self._job = job
        self._child = child
        self._hold = hold
        self._max_file_bytes = settings.max_message_bytes
        self._files = {"witness": bytearray(), "certificate": bytearray()}
        self._progress_s = settings.progress_s
        self._reports = 0
        self._is_stopping = is_stopping
        self._on_progress = on_progress
        start = time.monotonic()
        self._deadline = start + job.timeout_s
        self._leaves_at = start + stay_s
        self._look_at = start + ATTENTION_S
        self._report_at = start + self._progress_s
        self._progress: dict[str, Any] | None = None
        self._kills = memory.kills()

    def run(self, model: BinaryIO, dataset: BinaryIO | None = None) -> Ending:
        """Have the child work on the model's file and the data set's; returns when the job is over for us."""
        files = {"model": model} | ({} if dataset is None else {"dataset": dataset})
        try:
            self._child.ask(self._job.kind, self._job.request, files, ANSWERS[self._job.kind], self._sinks())
            while True:
                message = self._child.receive(ATTENTION_S)
                ending = self._heed(message) if message else None
                ending = ending or self._tend()
                if ending is not None:
                    return ending
        except ChildDied as death:
            return Ending(FAIL, error=self._problem(death))
        except (ProtocolBroken, NoMessage) as breach:
            return Ending(FAIL, error=WorkerProtocol(f"The process that ran the job was stopped: {breach}."))
        except Lost:
            return Ending(None)
        except OSError as error:
            return Ending(FAIL, error=unreadable(error))

    def _sinks(self) -> dict[str, Sink]:
        return {name: Sink(file.extend, self._max_file_bytes) for name, file in self._files.items()}

    def _heed(self, message: Message) -> Ending | None:
        if message.kind == "progress":
            self._progress = message.body
            return None
        self._child.end_turn()
        if message.kind == "error":
            return Ending(FAIL, child_is_idle=True, error=from_slug(**message.body))
        files = {name: bytes(self._files[name]) for name in message.files}
        certificate = read_certificate(files["certificate"]) if "certificate" in files else None
        return Ending(
            SUCCEED, child_is_idle=True, result=message.body, witness=files.get("witness"), certificate=certificate
        )

    def _tend(self) -> Ending | None:
        """What has to be done now and then, whether the child speaks or not."""
        now = time.monotonic()
        if now >= self._deadline:
            limit = f"{self._job.timeout_s:g} s"
            return Ending(TIME_OUT, error=TimeLimit(f"The job was stopped at its time limit of {limit}."))
        if now >= self._leaves_at:
            return Ending(REQUEUE, has_outstayed=True)
        if now >= self._look_at:
            self._look_at = now + ATTENTION_S
            return self._look()
        return None

    def _look(self) -> Ending | None:
        if self._is_stopping():
            return Ending(REQUEUE)
        if self._hold.look() == Status.CANCELING:
            return Ending(CANCELED)
        self._report_when_due()
        return None

    def _report_when_due(self) -> None:
        if self._progress is None or time.monotonic() < self._report_at:
            return
        if self._hold.report(self._progress):
            self._on_progress(self._job.id)
            self._progress = None
            self._reports += 1
        self._report_at = time.monotonic() + self._progress_s * 2.0 ** (self._reports // SLOWER_AFTER)

    def _problem(self, death: ChildDied) -> Problem:
        """What the child died of, as far as that can be known."""
        was_chosen = death.code == -signal.SIGKILL and memory.kills() > self._kills
        if death.is_exhausted or was_chosen:
            return OutOfMemory(f"The process that ran the job {death}: memory ran out.")
        return WorkerCrashed(f"The process that ran the job {death}.")


def unreadable(error: OSError) -> Problem:
    """The job's files cannot be read."""
    return StorageUnavailable(f"The job's files cannot be read ({type(error).__name__}).")
