"""What all slots of a supervisor share, and a slot as others see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from ..contract.plain import Json
from ..settings import Settings
from ..store.blobs import Blobs
from ..store.jobs import JobRepository
from .artifacts import Artifacts
from .child_factory import ChildFactory
from .devices import waiting_device
from .record import Kind
from .spare import Spare
from .watch import Watch


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
