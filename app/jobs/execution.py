"""One claimed job on one child: attend to it until it ends, and know how it ended."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.errors import Problem, TimeLimit, WorkerCrashed, WorkerProtocol, from_slug
from app.jobs.child import Child, ChildDied, ProtocolBroken
from app.jobs.record import JobRecord
from app.jobs.states import CANCELED, FAIL, REQUEUE, SUCCEED, TIME_OUT, Status
from app.store.jobs import JobRepository, Move

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


@dataclass(frozen=True)
class Terms:
    """The settings that an execution obeys, in seconds."""

    lease_s: float
    progress_s: float


class Execution:
    """Reads the child's messages, beats the heart, watches the clock, the cancel request and the lease."""

    def __init__(
        self,
        job: JobRecord,
        child: Child,
        repository: JobRepository,
        terms: Terms,
        is_stopping: Callable[[], bool],
        on_progress: Callable[[str], None],
    ) -> None:
        self._job = job
        self._child = child
        self._repository = repository
        self._terms = terms
        self._is_stopping = is_stopping
        self._on_progress = on_progress
        start = time.monotonic()
        self._deadline = start + job.timeout_s
        self._look_at = start + ATTENTION_S
        self._beat_at = start + terms.lease_s / 3
        self._report_at = start + terms.progress_s
        self._progress: dict[str, Any] | None = None

    def run(self, path: str, dataset: str | None = None) -> Ending:
        """Have the child work on the file at `path` and the data set; returns when the job is over for us."""
        message = {"kind": self._job.kind, "path": path, "dataset": dataset, "request": self._job.request}
        try:
            self._child.send(message)
            while True:
                told = self._child.receive(ATTENTION_S)
                ending = self._heed(told) if told else None
                ending = ending or self._tend()
                if ending is not None:
                    return ending
        except ChildDied as death:
            return Ending(FAIL, error=WorkerCrashed(f"The process that ran the job {death}."))
        except ProtocolBroken as breach:
            return Ending(FAIL, error=WorkerProtocol(f"The process that ran the job was stopped: {breach}."))

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
        status = self._repository.held_status(self._job.fence)
        if status is None:
            return Ending(None)
        if status == Status.CANCELING:
            return Ending(CANCELED)
        self._report_when_due()
        return self._beat_when_due()

    def _report_when_due(self) -> None:
        if self._progress is not None and time.monotonic() >= self._report_at:
            self._repository.report(self._job.fence, self._progress)
            self._on_progress(self._job.id)
            self._progress = None
            self._report_at = time.monotonic() + self._terms.progress_s

    def _beat_when_due(self) -> Ending | None:
        if time.monotonic() < self._beat_at:
            return None
        self._beat_at = time.monotonic() + self._terms.lease_s / 3
        return None if self._repository.beat(self._job.fence, self._terms.lease_s) else Ending(None)


def _decoded(witness: str | None) -> bytes | None:
    if witness is None:
        return None
    try:
        return base64.b64decode(witness, validate=True)
    except binascii.Error as error:
        raise ProtocolBroken(f"the witness is not base64: {error}") from error
