"""Runs the jobs of one host: slots with warm children, and the sweep for jobs of lost supervisors."""

from __future__ import annotations

import logging
import os
import threading
import uuid

from ..settings import Settings
from ..store.blobs import Blobs
from ..store.database import OUTAGES, Database
from ..store.jobs import JobRepository
from ..store.line import Wanted
from ..store.locks import Held
from ..store.retention import RetentionRepository
from ..store.workers import WorkerRepository
from .artifacts import Artifacts
from .devices import slot_devices, spare_device, waiting_device
from .dispatcher import Dispatcher
from .housekeeping import Housekeeping
from .publisher import Publisher
from .quick import LentChild, QuickSlot
from .record import READINGS, Kind
from .recovery import Recovery
from .slot_context import SlotContext, WorkerView
from .slots import WorkerSlot
from .watch import Watch

logger = logging.getLogger(__name__)


class Supervisor:
    """Started once a process. A dead supervisor's lock file tells its successors at once."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        *,
        blobs: Blobs,
        datasets: Blobs,
        artifacts: Artifacts,
        watch: Watch,
        dispatcher: Dispatcher,
    ) -> None:
        self._settings = settings
        repository, workers = JobRepository(database, settings.retention_s), WorkerRepository(database)
        self._dispatcher = dispatcher
        self._watch = watch
        self._stop = threading.Event()
        owner = f"{settings.host_name}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._lock = Held(settings.data_dir / "supervisors" / owner)
        self._recovery = Recovery(repository, workers, self._lock.path.parent, settings.max_losses)
        retention = RetentionRepository(database)
        self._housekeeping = Housekeeping(retention, workers, artifacts, settings.retention_s, settings.lease_s)
        self._publisher = Publisher(workers, owner, settings.host_name, settings.lease_s / 3, self.workers)
        self._context = SlotContext(
            settings=settings,
            repository=repository,
            blobs=blobs,
            datasets=datasets,
            artifacts=artifacts,
            watch=watch,
            owner=owner,
            is_stopping=self._stop.is_set,
            changed=self._publisher.changed,
            taken=dispatcher.hear,
        )
        self._slots = _slots(settings, self._context)
        self._sweeper = threading.Thread(target=self._sweep_forever, name="sweeper", daemon=True)

    def start(self) -> None:
        """Take over what lost supervisors left, then take jobs; children start in the background."""
        self._sweep()
        self._publisher.start()
        self._dispatcher.serve(self._slots)
        self._sweeper.start()

    def stop(self) -> None:
        """Put running jobs back into the queue, end the children."""
        self._stop.set()
        self._dispatcher.close()
        for slot in self._slots:
            slot.drop_child()
        self._context.factory.close()
        self._sweeper.join()
        self._publisher.stop()
        self._lock.release()

    def workers(self) -> list[WorkerView]:
        """Every slot's state at this moment."""
        return [slot.view() for slot in self._slots]

    def _sweep_forever(self) -> None:
        while not self._stop.wait(self._settings.sweep_s):
            try:
                self._sweep()
            except OUTAGES as error:
                logger.warning("the sweep waits for the database (%s)", type(error).__name__)
            except Exception:
                logger.exception("the sweep failed and will be tried again")

    def _sweep(self) -> None:
        self._recovery.recover(self._recovered)
        for job_id in self._housekeeping.run():
            self._watch.changed(job_id)

    def _recovered(self, job_id: str) -> None:
        logger.warning("job %s: its supervisor was lost", job_id)
        self._watch.changed(job_id)
        self._dispatcher.notify(job_id, 0)


def _slots(settings: Settings, context: SlotContext) -> list[WorkerSlot | QuickSlot]:
    """One slot a device for analyses, one that none of them holds up for uploads and graphs, and the quick lane."""
    analyses, readings = Wanted((Kind.ANALYZE,)), Wanted(READINGS, program_share=1)
    slots = [WorkerSlot(index, device, analyses, context) for index, device in enumerate(slot_devices(settings))]
    slots.append(WorkerSlot(len(slots), spare_device(), readings, context))
    if context.spare is None or not settings.quick_s:
        return [*slots]
    holder, either = LentChild(context.spare), Wanted((*READINGS, Kind.ANALYZE), only_quick=True)
    lane = WorkerSlot(len(slots), waiting_device(settings), either, context, holder=holder, stay_s=settings.quick_s)
    return [*slots, QuickSlot(lane, holder, context.spare, context.repository, slots)]
