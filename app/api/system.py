"""Health, versions, and what the service can do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.exc import SQLAlchemyError

from .. import __version__
from ..contract.methods import AUTO, METHODS, MethodInfo
from ..contract.service import (
    Health,
    Methods,
    MethodView,
    Operators,
    OperatorView,
    OptionView,
    Readiness,
    SlotView,
    Version,
    Workers,
)
from ..errors import NotReady, UnknownJob
from ..jobs.record import Kind
from ..jobs.slot_context import WorkerView, is_ready
from ..lipschitz.catalog import OPERATORS
from ..services import Services
from ..settings import Settings
from .callers import Caller, InCaller, administering, allowed
from .dependencies import InServices
from .documents import answers
from .problems import MEDIA_TYPE

open_router = APIRouter(tags=["System"])
"""Needs no key."""
router = APIRouter(tags=["System"], dependencies=[Depends(allowed)])
admin_router = APIRouter(tags=["System"], dependencies=[Depends(administering)])

COMPONENTS = ("torch", "onnx", "onnx2torch", "onnxruntime")


@open_router.get("/livez")
@open_router.get("/v2/health/live")
async def live() -> Health:
    """The process answers."""
    return Health(status="ok")


@open_router.get("/readyz", response_model=Readiness, responses=answers(NotReady))
@open_router.get("/v2/health/ready", response_model=Readiness, responses=answers(NotReady))
def ready(request: Request, services: InServices) -> Response:
    """Database, file store and workers work, the disk has room, the service is not stopping; 503 and what is not so."""
    workers = _workers(services)
    checks = {
        "service": "draining" if services.drain.is_on else "ok",
        "database": _check(services.database.check),
        "files": _check(services.blobs.check),
        "disk": _disk_check(services.settings),
        **{f"workers_{kind}": _worker_check(workers, kind) for kind in Kind},
    }
    is_fine = all(check == "ok" for check in checks.values())
    if is_fine:
        return JSONResponse({"status": "ready", "checks": checks})
    wrong = ", ".join(name for name, check in checks.items() if check != "ok")
    problem = NotReady(f"Not ready: {wrong}.").document(request.url.path)
    return JSONResponse(problem | {"checks": checks}, NotReady.status, media_type=MEDIA_TYPE)


@admin_router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(request: Request) -> Response:
    """Prometheus metrics."""
    request.app.state.ending_metrics.update()
    return Response(generate_latest(request.app.state.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


@open_router.get("/version")
def get_version() -> Version:
    """The versions at work."""
    return Version(version=__version__, components={name: version(name) for name in COMPONENTS})


@router.get("/v1/methods")
def list_methods() -> Methods:
    """Every method: kind, guarantee, norms, domains, options with defaults, what it needs."""
    return Methods(methods=list(map(_method_view, METHODS)), auto=list(AUTO))


@router.get("/v1/operators")
def list_operators() -> Operators:
    """Every graph operator that has a rule, and the rule."""
    return Operators(operators=[OperatorView(**asdict(operator)) for operator in OPERATORS])


@router.get("/v1/workers")
def list_workers(services: InServices, caller: InCaller) -> Workers:
    """Every worker of every host: device, state, current job, confinement. Jobs of others are not shown."""
    views = services.live_workers()
    return Workers(workers=[SlotView(**asdict(view) | {"job": _shown(services, caller, view)}) for view in views])


def _method_view(method: MethodInfo) -> MethodView:
    options = {name: OptionView(**asdict(option)) for name, option in method.options.items()}
    return MethodView(**asdict(method) | {"options": options})


def _check(probe: Callable[[], None]) -> str:
    try:
        probe()
    except (SQLAlchemyError, OSError) as error:
        return f"failed: {type(error).__name__}"
    return "ok"


def _disk_check(settings: Settings) -> str:
    """Uploads are refused, and the database cannot grow, before the disk is full."""
    try:
        free = shutil.disk_usage(settings.data_dir).free
    except OSError as error:
        return f"failed: {type(error).__name__}"
    return (
        "ok" if free > settings.disk_reserve_bytes else f"failed: {free} bytes are free (LIPSERVE_DISK_RESERVE_BYTES)"
    )


def _workers(services: Services) -> list[WorkerView]:
    try:
        return services.live_workers()
    except SQLAlchemyError:  # the check of the database says so
        return []


def _worker_check(workers: list[WorkerView], kind: Kind) -> str:
    return "ok" if any(is_ready(view) for view in workers if kind in view.kinds) else "no live worker yet"


def _shown(services: Services, caller: Caller, view: WorkerView) -> str | None:
    """The worker's job if the caller may know of it."""
    if view.job is None or caller.is_admin:
        return view.job
    try:
        return services.jobs.get(caller.tenant, view.job).id
    except UnknownJob:
        return None
