"""Health, versions, and what the service can do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

import app
from app.api.documents import answers
from app.api.house import House, InHouse
from app.api.problems import MEDIA_TYPE
from app.errors import NotReady
from app.jobs.record import Kind
from app.jobs.slots import WorkerView, is_ready
from app.lipschitz import catalog

router = APIRouter(tags=["System"])

COMPONENTS = ("torch", "onnx", "onnx2torch", "onnxruntime")


class Health(BaseModel):
    """A sign of life."""

    status: str


class Readiness(BaseModel):
    """What the service needs, each `ok` or what is wrong."""

    status: str
    checks: dict[str, str]


class Version(BaseModel):
    """The service's version and those of what it computes with."""

    version: str
    components: dict[str, str]


class Methods(BaseModel):
    """Every method."""

    methods: list[dict[str, Any]]
    auto: list[str]


class Operators(BaseModel):
    """Every graph operator with a rule."""

    operators: list[dict[str, Any]]


class Workers(BaseModel):
    """Every worker."""

    workers: list[dict[str, Any]]


@router.get("/livez")
@router.get("/v2/health/live")
async def live() -> Health:
    """The process answers."""
    return Health(status="ok")


@router.get("/readyz", response_model=Readiness, responses=answers(NotReady))
@router.get("/v2/health/ready", response_model=Readiness, responses=answers(NotReady))
def ready(request: Request, house: InHouse) -> Response:
    """Database, file store and workers work; 503 with the same JSON of checks otherwise."""
    checks = {
        "database": _check(house.database.check),
        "files": _check(house.blobs.check),
        **{f"workers_{kind}": _worker_check(house, kind) for kind in Kind},
    }
    is_fine = all(check == "ok" for check in checks.values())
    if is_fine:
        return JSONResponse({"status": "ready", "checks": checks})
    wrong = ", ".join(name for name, check in checks.items() if check != "ok")
    problem = NotReady(f"Not ready: {wrong}.").document(request.url.path)
    return JSONResponse(problem | {"checks": checks}, NotReady.status, media_type=MEDIA_TYPE)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(request: Request) -> Response:
    """Prometheus metrics."""
    return Response(generate_latest(request.app.state.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


@router.get("/version")
def get_version() -> Version:
    """The versions at work."""
    return Version(version=app.__version__, components={name: version(name) for name in COMPONENTS})


@router.get("/v1/methods")
def list_methods() -> Methods:
    """Every method: kind, guarantee, norms, domains, options with defaults, what it needs."""
    return Methods(methods=[asdict(method) for method in catalog.METHODS], auto=list(catalog.AUTO))


@router.get("/v1/operators")
def list_operators() -> Operators:
    """Every graph operator that has a rule, and the rule."""
    return Operators(operators=[asdict(operator) for operator in catalog.OPERATORS])


@router.get("/v1/workers")
def list_workers(house: InHouse) -> Workers:
    """Every worker: device, state, current job."""
    return Workers(workers=[_worker(view) for view in house.supervisor.workers()])


def _check(probe: Callable[[], None]) -> str:
    try:
        probe()
    except (SQLAlchemyError, OSError) as error:
        return f"failed: {type(error).__name__}"
    return "ok"


def _worker_check(house: House, kind: Kind) -> str:
    views = [view for view in house.supervisor.workers() if kind in view.kinds]
    return "ok" if any(map(is_ready, views)) else "no live worker yet"


def _worker(view: WorkerView) -> dict[str, Any]:
    return asdict(view) | {"confinement": "none"}
