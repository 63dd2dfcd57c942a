"""What the service is made of, built once at start; nothing in here knows of HTTP."""

from __future__ import annotations

from dataclasses import dataclass

from .drain import Drain
from .jobs.admission import ModelService
from .jobs.datasets import DatasetService
from .jobs.engine import Engine
from .jobs.record import Kind
from .jobs.series import SeriesService
from .jobs.service import JobService
from .jobs.slot_context import WorkerView
from .jobs.watch import Watch
from .registries.intake import Intake
from .registries.outbound import Outbound, open_outbound
from .settings import Settings
from .store.blobs import Blobs
from .store.database import Database
from .store.endings import EndingRepository
from .store.idempotency import IdempotencyRepository
from .store.keys import KeyRepository
from .store.series import SeriesRepository
from .store.uploads import dataset_repository, model_repository
from .store.workers import WorkerRepository


@dataclass(frozen=True, kw_only=True)
class Services:
    """Everything behind the API."""

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
    series: SeriesService
    drain: Drain
    outbound: Outbound

    @classmethod
    def build(cls, settings: Settings, drain: Drain) -> Services:
        """All of them, the database brought up to date; nothing is started."""
        engine = Engine(settings, runs_jobs=settings.local_workers)
        database, blobs = engine.database, engine.blobs
        jobs = JobService(engine.repository, engine.dispatcher, engine.watch, settings)
        models = ModelService(model_repository(database), blobs, engine.artifacts, jobs, settings.inspect_timeout_s)
        series = SeriesService(SeriesRepository(database))
        idempotency = IdempotencyRepository(database, settings.idempotency_s)
        return cls(
            settings=settings,
            database=database,
            blobs=blobs,
            dataset_blobs=engine.datasets,
            watch=engine.watch,
            jobs=jobs,
            models=models,
            datasets=DatasetService(dataset_repository(database), engine.datasets),
            engine=engine,
            keys=KeyRepository(database),
            idempotency=idempotency,
            endings=EndingRepository(database),
            workers=WorkerRepository(database),
            series=series,
            drain=drain,
            outbound=open_outbound(settings, database, blobs, Intake(settings, models, jobs, series, idempotency)),
        )

    def start(self) -> None:
        """Take jobs if this process runs any, and send what is to be sent."""
        self.engine.start()
        self.outbound.start()

    def stop(self) -> None:
        """End what was begun."""
        self.outbound.stop()
        self.engine.stop()

    def live_workers(self) -> list[WorkerView]:
        """The slots of every host that are not silent."""
        return [
            WorkerView(
                name=row["name"],
                kinds=tuple(map(Kind, row["kinds"].split(","))),
                device=row["device"],
                state=row["state"],
                job=row["job"],
                pid=row["pid"],
                confinement=row["confinement"],
                details=row["details"],
            )
            for row in self.workers.live(self.settings.lease_s)
        ]
