"""A slot: one device, one warm child, one job at a time."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.errors import Problem
from app.jobs.child import Child, ChildDied, ProtocolBroken
from app.jobs.devices import Device
from app.jobs.execution import Ending, Execution, Terms
from app.jobs.record import JobRecord, Kind
from app.jobs.states import CANCELED, CLAIM, REQUEUE
from app.jobs.watch import Watch
from app.settings import Settings
from app.store.blobs import Blobs
from app.store.jobs import JobRepository

logger = logging.getLogger(__name__)

START_POLL_S = 0.2
MAX_RETRY_S = 30.0


@dataclass(frozen=True)
class WorkerView:
    """A slot as `GET /v1/workers` shows it."""

    name: str
    kinds: tuple[Kind, ...]
    device: str
    state: str
    job: str | None
    pid: int | None


@dataclass(frozen=True)
class Surroundings:
    """What all slots of a supervisor share."""

    settings: Settings
    repository: JobRepository
    blobs: Blobs
    datasets: Blobs
    watch: Watch
    owner: str
    is_stopping: Callable[[], bool]


class WorkerSlot:
    """Keeps a child warm and runs jobs in it. Its thread alone calls `prepare` and `run`."""

    def __init__(self, index: int, device: Device, kinds: Sequence[Kind], around: Surroundings) -> None:
        self._kinds = tuple(kinds)
        self._name = f"{socket.gethostname()}/{index}"
        self._device = device
        self._device_name = device.name
        self._around = around
        self._child: Child | None = None
        self._state = "starting"
        self._job: str | None = None
        self._failures = 0
        self._retry_at = 0.0

    def __str__(self) -> str:
        return self._name

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What can run here."""
        return self._kinds

    def view(self) -> WorkerView:
        """The slot's state at this moment; may be read from any thread."""
        child = self._child
        return WorkerView(
            self._name, self._kinds, self._device_name, self._state, self._job, child.pid if child else None
        )

    def prepare(self) -> bool:
        """Whether a warm child waits; starts one where there is none."""
        if self._child is not None and not self._child.is_alive():
            self.drop_child()
        if self._child is None and time.monotonic() >= self._retry_at:
            self._start()
        return self._child is not None

    def run(self, job_id: str) -> None:
        """Claim the job, run it, store how it ended."""
        around = self._around
        row = around.repository.claim(
            job_id,
            CLAIM,
            around.owner,
            around.settings.lease_s,
            worker=self._name,
            device=self._device_name,
        )
        if row is None:
            return
        job = JobRecord.of(row)
        around.watch.changed(job.id)
        self._state, self._job = "busy", job.id
        try:
            self._complete(job)
        except BaseException:
            self.drop_child()
            raise
        finally:
            self._job = None
            self._state = "idle" if self._child else "restarting"

    def drop_child(self) -> None:
        """Kill the child, if there is one."""
        child, self._child = self._child, None
        if child is not None:
            self._state = "restarting"
            child.kill()

    def _complete(self, job: JobRecord) -> None:
        ending = self._execute(job)
        if not ending.child_is_idle:
            self.drop_child()
        self._store(job, ending)

    def _execute(self, job: JobRecord) -> Ending:
        around = self._around
        assert self._child is not None
        execution = Execution(
            job,
            self._child,
            around.repository,
            Terms(around.settings.lease_s, around.settings.progress_s),
            around.is_stopping,
            around.watch.changed,
        )
        dataset = None if job.dataset is None else str(around.datasets.path(Blobs.key(job.dataset)))
        return execution.run(str(around.blobs.path(job.blob)), dataset)

    def _store(self, job: JobRecord, ending: Ending) -> None:
        repository, fence = self._around.repository, job.fence
        if ending.move is None:
            logger.warning("job %s: the lease is lost, its outcome is dropped", job.id)
            return
        if ending.move is REQUEUE:
            stored = repository.release(fence, REQUEUE, losses=0)
        else:
            stored = repository.finish(
                fence,
                ending.move,
                error=_document(job, ending.error),
                result=ending.result,
                witness=ending.witness,
                certificate=ending.certificate,
            )
        # A cancel request that came while the outcome was on its way wins.
        stored = stored or repository.finish(fence, CANCELED)
        self._around.watch.changed(job.id)
        logger.info("job %s: %s", job.id, stored["status"] if stored else "the lease is lost")

    def _start(self) -> None:
        settings = self._around.settings
        child = Child(settings.worker_module, self._device.environment, settings.max_message_bytes)
        deadline = time.monotonic() + settings.worker_start_s
        try:
            self._await_ready(child, deadline)
        except (ChildDied, ProtocolBroken, TimeoutError) as error:
            child.kill()
            self._state = "failed"
            self._failures += 1
            self._retry_at = time.monotonic() + min(MAX_RETRY_S, 2.0**self._failures)
            if not self._around.is_stopping():
                logger.error("worker %s did not start: %s", self._name, error)
        else:
            self._child, self._state, self._failures = child, "idle", 0

    def _await_ready(self, child: Child, deadline: float) -> None:
        while time.monotonic() < deadline and not self._around.is_stopping():
            match child.receive(START_POLL_S):
                case {"type": "ready", "device": str(device)}:
                    self._device_name = self._device.name if device == "cuda" else device
                    return
                case None:
                    continue
                case _:
                    raise ProtocolBroken("the first message is not `ready`")
        raise TimeoutError("the child was not ready in time")


def _document(job: JobRecord, error: Problem | None) -> dict[str, object] | None:
    return None if error is None else error.document(f"/v1/jobs/{job.id}")


def is_ready(view: WorkerView) -> bool:
    """Whether the slot works: it has a warm child, or had one until a job's end took it along."""
    return view.state in ("idle", "busy", "restarting")
