"""What all slots of a supervisor share, and a slot as others see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from app.contract.plain import Json
from app.jobs.artifacts import Artifacts
from app.jobs.child_factory import ChildFactory
from app.jobs.devices import waiting_device
from app.jobs.record import Kind
from app.jobs.spare import Spare
from app.jobs.watch import Watch
from app.settings import Settings
from app.store.blobs import Blobs
from app.store.jobs import JobRepository


@dataclass(frozen=True)
class WorkerView:
    """A slot as `GET /v1/workers` shows it."""

    name: str
    kinds: tuple[Kind, ...]
    device: str
    state: str
    job: str | None
    pid: int | None
    confinement: str = "none"
    details: Json = field(default_factory=dict)


@dataclass(frozen=True)
class SlotContext:
    """What all slots of a supervisor share."""

    settings: Settings
    repository: JobRepository
    blobs: Blobs
    datasets: Blobs
    artifacts: Artifacts
    watch: Watch
    owner: str
    is_stopping: Callable[[], bool]
    changed: Callable[[], None]
    taken: Callable[[str], None]

    @cached_property
    def factory(self) -> ChildFactory:
        """Where their children come from."""
        return ChildFactory(self.settings)

    @cached_property
    def spare(self) -> Spare | None:
        """The child that waits to replace one of theirs, if there is to be one."""
        if not self.settings.warm_spare:
            return None
        device = waiting_device(self.settings)
        return Spare(lambda: self.factory.start(device, self.is_stopping), self.is_stopping)


def is_ready(view: WorkerView) -> bool:
    """Whether the slot works: it has a warm child, or had one until a job's end took it along. One that steps in for
    others does not make up for them.
    """
    return "lane" not in view.details and view.state in ("idle", "busy", "restarting")
