"""The application: rooms built, routers joined, children started and stopped with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from anyio import to_thread
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

import app
from app.api import datasets, documents, jobs, models, problems, requests, system
from app.api.house import House
from app.api.metrics import HttpMetrics, JobMetrics
from app.api.middleware import Envelope
from app.errors import InvalidRequest
from app.jobs.admission import ModelService
from app.jobs.datasets import DatasetService
from app.jobs.dispatcher import EmbeddedDispatcher
from app.jobs.service import JobService
from app.jobs.supervisor import Supervisor
from app.jobs.watch import Watch
from app.settings import Settings
from app.store.blobs import Blobs
from app.store.database import Database
from app.store.jobs import JobRepository
from app.store.uploads import dataset_repository, model_repository

THREADS = 64


def create_app(settings: Settings) -> FastAPI:
    """The service; nothing is opened or started before its lifespan begins."""
    registry = CollectorRegistry()

    @asynccontextmanager
    async def lifespan(service: FastAPI) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = THREADS
        house = await to_thread.run_sync(build, settings)
        service.state.house = house
        registry.register(JobMetrics(house.jobs.counts, house.supervisor.workers))
        await to_thread.run_sync(house.supervisor.start)
        yield
        await to_thread.run_sync(house.supervisor.stop)
        house.database.close()

    service = Service(
        title="Lipserve",
        version=app.__version__,
        summary="Certified brackets on the Lipschitz constant of neural networks",
        lifespan=lifespan,
    )
    service.state.registry = registry
    service.add_middleware(Envelope, metrics=HttpMetrics(registry))
    problems.register(service)
    for router in (system.router, models.router, datasets.router, jobs.router):
        service.include_router(router)
    return service


def build(settings: Settings) -> House:
    """Every room of the house, the database brought up to date."""
    database = Database(settings.sqlalchemy_url())
    database.migrate()
    blobs = Blobs(settings.data_dir / "files", settings.max_upload_bytes, settings.disk_reserve_bytes)
    dataset_blobs = Blobs(settings.data_dir / "datasets", settings.max_dataset_bytes, settings.disk_reserve_bytes)
    repository, watch = JobRepository(database), Watch()
    dispatcher = EmbeddedDispatcher(repository, settings.poll_s)
    service = JobService(repository, dispatcher, watch)
    return House(
        settings,
        database,
        blobs,
        dataset_blobs,
        watch,
        service,
        ModelService(model_repository(database), blobs, service, settings.inspect_timeout_s),
        DatasetService(dataset_repository(database), dataset_blobs),
        Supervisor(settings, repository, blobs, dataset_blobs, watch, dispatcher),
    )


class Service(FastAPI):
    """FastAPI with the schemas of bodies that are read by hand, and of problems, in its document."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        if self.openapi_schema is None:
            document = super().openapi()
            schemas = document["components"]["schemas"]
            for schema in (requests.AnalysisFields, requests.JobRequest, documents.ProblemView):
                own = schema.model_json_schema(ref_template="#/components/schemas/{model}")
                schemas |= own.pop("$defs", {}) | {schema.__name__: own}
            schemas.pop("HTTPValidationError", None)
            schemas.pop("ValidationError", None)
            _use_problems(document)
        return self.openapi_schema or {}


def _use_problems(document: dict[str, Any]) -> None:
    """FastAPI announces its own shape of 422 wherever there is a parameter; ours is a problem."""
    ours = documents.answers(InvalidRequest)[422]
    for path in document["paths"].values():
        for operation in path.values():
            answer = operation["responses"].get("422")
            if answer is not None and "application/json" in answer.get("content", {}):
                operation["responses"]["422"] = ours
