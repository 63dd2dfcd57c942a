"""The rooms that the endpoints use, as types to ask for in a signature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from app.api.drain import Drain
from app.errors import Draining
from app.jobs.admission import ModelService
from app.jobs.datasets import DatasetService
from app.jobs.engine import Engine
from app.jobs.record import Kind
from app.jobs.service import JobService
from app.jobs.slots import WorkerView
from app.jobs.watch import Watch
from app.settings import Settings
from app.store.blobs import Blobs
from app.store.database import Database
from app.store.endings import EndingRepository
from app.store.idempotency import IdempotencyRepository
from app.store.keys import KeyRepository
from app.store.workers import WorkerRepository

if TYPE_CHECKING:
    from app.api.outbound import Outbound

RETRY_AFTER_S = "5"


@dataclass(frozen=True)
class House:
    """Everything behind the API, built once at start."""

    settings: Settings
    database: Database
    blobs: Blobs
    dataset_blobs: Blobs
    watch: Watch
    jobs: JobService
    models: ModelService
    datasets: DatasetService
    engine: Engine
    keys: KeyRepository
    idempotency: IdempotencyRepository
    endings: EndingRepository
    workers: WorkerRepository
    drain: Drain
    outbound: Outbound

    def live_workers(self) -> list[WorkerView]:
        """The slots of every host that are not silent."""
        return [
            WorkerView(
                row["name"],
                tuple(map(Kind, row["kinds"].split(","))),
                row["device"],
                row["state"],
                row["job"],
                row["pid"],
                row["confinement"],
                row["details"],
            )
            for row in self.workers.live(self.settings.lease_s)
        ]


def of_request(request: Request) -> House:
    """The house that the application was started with."""
    house: House = request.app.state.house
    return house


InHouse = Annotated[House, Depends(of_request)]


def is_taking_work(house: InHouse) -> None:
    """Raise Draining when the service is stopping."""
    if house.drain.is_on:
        raise Draining("The service is stopping; send the request again.", headers={"Retry-After": RETRY_AFTER_S})


TakingWork = Depends(is_taking_work)
"""For routes that create something."""
