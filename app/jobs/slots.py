"""A slot: one device, one warm child and at times a second, one job at a time."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from ..errors import Problem
from ..store.line import Wanted
from .child_factory import Role
from .child_holder import ChildHolder, DeviceChild
from .devices import Device, spare_device
from .execution import Ending, Execution
from .gpu_memory import gpu_memory
from .hold import Hold, Lost
from .quarantine import Quarantine, is_fault
from .record import JobRecord, Kind
from .slot_context import SlotContext, WorkerView
from .states import CANCELED, CLAIM, REQUEUE, Status
from .work import Work

logger = logging.getLogger(__name__)

IDLE_S = 60.0
"""How long a child that a slot needs only now and then is kept."""


class WorkerSlot:
    """Keeps a child warm and runs jobs in it. Its thread alone calls `prepare`, `run_next` and `run`."""

    def __init__(
        self,
        index: int,
        device: Device,
        wanted: Wanted,
        context: SlotContext,
        *,
        holder: ChildHolder | None = None,
        stay_s: float = math.inf,
    ) -> None:
        """`stay_s`: for how long a job may stay here before it goes back to the queue."""
        self._wanted = wanted
        self._kinds = tuple(map(Kind, wanted.kinds))
        self._stay_s = stay_s
        self._name = f"{context.settings.host_name}/{index}"
        self._device_name = device.name
        self._gpu = device.gpu
        self._context = context
        self._holder = holder or DeviceChild(device, context.factory, context.spare)
        self._other = DeviceChild(spare_device(), context.factory, context.spare)
        self._other_until = 0.0
        self._quarantine = Quarantine(context.settings.quarantine_s) if device.is_gpu else None
        self._state = "starting"
        self._job: str | None = None

    def __str__(self) -> str:
        return self._name

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What can run here."""
        return self._kinds

    @property
    def is_idle(self) -> bool:
        """Whether it would take a job now; may be read from any thread."""
        return self._state == "idle"

    def view(self) -> WorkerView:
        """The slot's state at this moment; may be read from any thread."""
        warm = self._holder.warm
        reason = self._quarantine.reason if self._quarantine else ""
        memory = gpu_memory(self._gpu) if self._gpu else {}
        lane = {} if math.isinf(self._stay_s) else {"lane": "quick"}
        details = lane | (warm.details if warm else {}) | ({"reason": reason} if reason else {}) | memory
        return WorkerView(
            self._name,
            self._kinds,
            self._device_name,
            self._state,
            self._job,
            warm.child.pid if warm else None,
            warm.confinement if warm else "none",
            details,
        )

    def prepare(self) -> bool:
        """Whether a warm child waits; starts one where there is none, unless the device rests."""
        self._dismiss()
        if self._quarantine is not None and self._quarantine.reason:
            self._holder.empty()
            self._become("quarantined")
            return False
        return self._fill(self._context.is_stopping)

    def run_next(self) -> bool:
        """Claim the job that is next for this slot, run it, store how it ended; False when none waits."""
        return self.run(self._wanted)

    def rest(self, is_ready: bool) -> None:
        """Say whether it would take a job now."""
        self._dismiss()
        if is_ready or self._state != "starting":
            self._become("idle" if is_ready else "restarting")

    def run(self, wanted: Wanted) -> bool:
        """The same, for some of its jobs."""
        context = self._context
        since = time.monotonic()
        lease_s, where = context.settings.lease_s, {"worker": self._name, "device": self._device_name}
        row = context.repository.claim(CLAIM, wanted, context.owner, lease_s, **where)
        if row is None:
            return False
        job = JobRecord.of(row)
        context.watch.changed(job.id)
        self._job = job.id
        self._become("busy")
        context.taken(job.id)
        try:
            self._complete(job, Hold(context.repository, job.fence, lease_s, since))
        except BaseException:
            self._holder.empty()
            self._other.empty()
            raise
        finally:
            self._job = None
            self._become("idle" if self._holder.warm else "restarting")
        return True

    def drop_child(self) -> None:
        """Kill its children; the spare goes with them when the service stops."""
        self._other.empty()
        if self._context.is_stopping():
            self._holder.close()
        else:
            self._holder.empty()
        self._become("restarting")

    def _dismiss(self) -> None:
        """End the child that was needed beside the warm one, when it has had nothing to do for a while."""
        if time.monotonic() >= self._other_until:
            self._other.empty()

    def _become(self, state: str) -> None:
        if state != self._state or state == "busy":
            self._state = state
            self._context.changed()

    def _fill(self, gives_up: Callable[[], bool]) -> bool:
        is_filled = self._holder.fill(gives_up)
        if self._holder.warm is not None:
            self._device_name = self._holder.warm.device
        if self._job is None:
            self._become("idle" if is_filled else "failed" if self._holder.is_failing else "restarting")
        return is_filled

    def _complete(self, job: JobRecord, hold: Hold) -> None:
        ending, is_bounding = self._execute(job, hold)
        if self._quarantine is not None and is_bounding:
            if is_fault(ending.error):
                self._holder.empty()
            self._quarantine.note(ending.error)
        self._store(job, ending, hold)

    def _execute(self, job: JobRecord, hold: Hold) -> tuple[Ending, bool]:
        """How the job ended, and whether a bounding child had to do with it."""
        context = self._context
        execution = Execution(
            job,
            hold,
            context.settings,
            is_stopping=context.is_stopping,
            on_progress=context.watch.changed,
            stay_s=self._stay_s,
        )
        main, other = self._holder, self._other
        capturing, bounding = (other, main) if job.kind is Kind.ANALYZE else (main, other)
        holders: dict[Role, ChildHolder] = {"capture": capturing, "bounding": bounding}
        stores = (context.blobs, context.datasets, context.artifacts)
        work = Work(job, execution, holders, stores, context.settings.max_message_bytes)
        ending = work.run()
        self._other_until = time.monotonic() + IDLE_S
        return ending, work.is_bounding

    def _store(self, job: JobRecord, ending: Ending, hold: Hold) -> None:
        context = self._context
        try:
            status = hold.keep(lambda: self._stored(job, ending), context.is_stopping)
        except Lost:
            status = None
        context.watch.changed(job.id)
        if status == Status.QUEUED:
            context.taken(job.id)
        logger.info("job %s: %s", job.id, status or "the lease is lost, its outcome is dropped")

    def _stored(self, job: JobRecord, ending: Ending) -> str | None:
        """The job's status once its ending is in the table, None when it is no longer ours."""
        repository, fence = self._context.repository, job.fence
        if ending.move is None:
            return None
        if ending.move is REQUEUE:
            stored = repository.release(fence, REQUEUE, losses=0, quick=job.quick and not ending.has_outstayed)
        else:
            stored = repository.finish(
                fence,
                ending.move,
                error=_document(job, ending.error),
                result=ending.result,
                witness=ending.witness,
                certificate=ending.certificate,
                radii=ending.radii,
            )
        # A cancel request that came while the outcome was on its way wins.
        stored = stored or repository.finish(fence, CANCELED)
        return None if stored is None else str(stored["status"])


def _document(job: JobRecord, error: Problem | None) -> dict[str, object] | None:
    return None if error is None else error.document(f"/v1/jobs/{job.id}")
