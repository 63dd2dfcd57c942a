"""The application: services built, routers joined, children started and stopped with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import to_thread
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from . import __version__, observability
from .api import (
    comparisons,
    datasets,
    documents,
    hooks,
    jobs,
    models,
    problems,
    series,
    session,
    sources,
    system,
    webhooks,
)
from .api.cross_site import CrossSiteProtection
from .api.hosts import Hosts
from .api.job_metrics import EndingMetrics, JobMetrics
from .api.metrics import HttpMetrics
from .api.middleware import Envelope
from .contract.comparison import ComparisonFields, ComparisonRequest
from .contract.plain import Json
from .contract.problem import ProblemView
from .contract.request import AnalysisFields, JobRequest
from .drain import Drain
from .errors import Forbidden, Unauthorized
from .pages import router as pages
from .refusals import InvalidRequest
from .services import Services
from .settings import Settings

THREADS = 64
READ_BY_HAND = (
    AnalysisFields,
    JobRequest,
    ComparisonFields,
    ComparisonRequest,
    sources.SourceRequest,
    session.SignIn,
    ProblemView,
)
"""Schemas that the framework does not see."""


def create_app(settings: Settings) -> FastAPI:
    """The service; nothing is opened or started before its lifespan begins."""
    registry = CollectorRegistry()

    @asynccontextmanager
    async def lifespan(service: FastAPI) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = THREADS
        services = await to_thread.run_sync(Services.build, settings, service.state.drain)
        service.state.services = services
        registry.register(JobMetrics(services.jobs.counts, services.live_workers))
        service.state.ending_metrics = await to_thread.run_sync(EndingMetrics, registry, services.endings)
        await to_thread.run_sync(services.start)
        yield
        await to_thread.run_sync(services.stop)
        observability.flush(service)

    service = Service(
        title="Lipserve",
        version=__version__,
        summary="Certified brackets on the Lipschitz constant of neural networks",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's pages load scripts from elsewhere; app/pages has one that loads nothing
        redoc_url=None,
    )
    service.state.registry, service.state.drain = registry, Drain()
    service.state.http_metrics = HttpMetrics(registry)
    hosts = Hosts.of(settings)
    service.add_middleware(CrossSiteProtection, hosts=hosts, metrics=service.state.http_metrics)
    service.add_middleware(Envelope, metrics=service.state.http_metrics)
    problems.register(service)
    closed = (
        system.router,
        system.admin_router,
        models.router,
        datasets.router,
        jobs.router,
        comparisons.router,
        series.router,
        pages.router,
        webhooks.router,
    )
    service.include_router(system.open_router)
    service.include_router(hooks.router)
    for router in (pages.open_router, session.router):
        service.include_router(router)
    for router in closed:
        service.include_router(router, responses=documents.answers(Unauthorized, Forbidden))
    if settings.otel:
        observability.trace(service)
    return service


class Service(FastAPI):
    """FastAPI with the schemas of bodies that are read by hand, and of problems, in its document."""

    def openapi(self) -> Json:
        """The OpenAPI document."""
        if self.openapi_schema is None:
            document = super().openapi()
            schemas = document["components"]["schemas"]
            for schema in READ_BY_HAND:
                own = schema.model_json_schema(ref_template="#/components/schemas/{model}")
                schemas |= own.pop("$defs", {}) | {schema.__name__: own}
            schemas.pop("HTTPValidationError", None)
            schemas.pop("ValidationError", None)
            _use_problems(document)
        return self.openapi_schema or {}


def _use_problems(document: Json) -> None:
    """FastAPI announces its own shape of 422 wherever there is a parameter; ours is a problem."""
    ours = documents.answers(InvalidRequest)[422]
    for path in document["paths"].values():
        for operation in path.values():
            answer = operation["responses"].get("422")
            if answer is not None and "application/json" in answer.get("content", {}):
                operation["responses"]["422"] = ours
