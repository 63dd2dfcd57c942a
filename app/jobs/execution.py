"""One claimed job on one child: attend to it until it ends, and know how it ended."""

from __future__ import annotations

import base64
import binascii
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from app.errors import OutOfMemory, Problem, StorageUnavailable, TimeLimit, WorkerCrashed, WorkerProtocol, from_slug
from app.jobs import memory
from app.jobs.child import Child, ChildDied, ProtocolBroken
from app.jobs.hold import Hold, Lost
from app.jobs.record import JobRecord
from app.jobs.states import CANCELED, FAIL, REQUEUE, SUCCEED, TIME_OUT, Status
from app.store.transitions import Move

ATTENTION_S = 0.1
"""How often a running job's row is looked at for a cancel request."""


@dataclass(frozen=True)
class Ending:
    """How the job ended. `move` is None when it is no longer ours; only an idle child is kept."""

    move: Move | None
    child_is_idle: bool = False
    error: Problem | None = None
    result: dict[str, Any] | None = None
    witness: bytes | None = None
    certificate: dict[str, Any] | None = None


class Execution:
    """Reads the child's messages, beats the heart, watches the clock, the cancel request and the lease."""

    def __init__(
        self,
        job: JobRecord,
        child: Child,
        hold: Hold,
        progress_s: float,
        is_stopping: Callable[[], bool],
        on_progress: Callable[[str], None],
    ) -> None:
        self._job = job
        self._child = child
        self._hold = hold
        self._progress_s = progress_s
        self._is_stopping = is_stopping
        self._on_progress = on_progress
        start = time.monotonic()
        self._deadline = start + job.timeout_s
        self._look_at = start + ATTENTION_S
        self._report_at = start + progress_s
        self._progress: dict[str, Any] | None = None
        self._kills = memory.kills()

    def run(self, model: BinaryIO, dataset: BinaryIO | None = None) -> Ending:
        """Have the child work on the model's file and the data set's; returns when the job is over for us."""
        files = {"model": model, "dataset": dataset}
        sizes = {name: None if file is None else _size(file) for name, file in files.items()}
        message = {"kind": self._job.kind, "request": self._job.request, "sizes": sizes}
        try:
            self._child.send(message, [file for file in files.values() if file is not None])
            while True:
                told = self._child.receive(ATTENTION_S)
                ending = self._heed(told) if told else None
                ending = ending or self._tend()
                if ending is not None:
                    return ending
        except ChildDied as death:
            return Ending(FAIL, error=self._problem(death))
        except ProtocolBroken as breach:
            return Ending(FAIL, error=WorkerProtocol(f"The process that ran the job was stopped: {breach}."))
        except Lost:
            return Ending(None)
        except OSError as error:
            return Ending(FAIL, error=unreadable(error))

    def _heed(self, message: dict[str, Any]) -> Ending | None:
        match message:
            case {"type": "progress", "progress": dict(progress)}:
                self._progress = progress
                return None
            case {
                "type": "result",
                "result": dict(result),
                "witness": str() | None as witness,
                "certificate": dict() | None as certificate,
            }:
                npz = _decoded(witness)
                return Ending(SUCCEED, child_is_idle=True, result=result, witness=npz, certificate=certificate)
            case {"type": "error", "slug": str(slug), "detail": str(detail)}:
                return Ending(FAIL, child_is_idle=True, error=from_slug(slug, detail))
        raise ProtocolBroken("a message of an unknown kind")

    def _tend(self) -> Ending | None:
        """What has to be done now and then, whether the child speaks or not."""
        now = time.monotonic()
        if now >= self._deadline:
            limit = f"{self._job.timeout_s:g} s"
            return Ending(TIME_OUT, error=TimeLimit(f"The job was stopped at its time limit of {limit}."))
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
        self._report_at = time.monotonic() + self._progress_s

    def _problem(self, death: ChildDied) -> Problem:
        """What the child died of, as far as that can be known."""
        was_chosen = death.code == -signal.SIGKILL and memory.kills() > self._kills
        if death.is_exhausted or was_chosen:
            return OutOfMemory(f"The process that ran the job {death}: memory ran out.")
        return WorkerCrashed(f"The process that ran the job {death}.")


def unreadable(error: OSError) -> Problem:
    """The job's files cannot be read."""
    return StorageUnavailable(f"The job's files cannot be read ({type(error).__name__}).")


def _size(file: BinaryIO) -> int:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size


def _decoded(witness: str | None) -> bytes | None:
    if witness is None:
        return None
    try:
        return base64.b64decode(witness, validate=True)
    except binascii.Error as error:
        raise ProtocolBroken(f"the witness is not base64: {error}") from error
