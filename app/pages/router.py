"""The pages' addresses."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.routing import APIRoute

from ..advice import advice
from ..api import session
from ..api.callers import InCaller, allowed
from ..api.dependencies import InServices
from ..api.documents import answers
from ..api.jobs import MAX_EVENTS, NO_JOB, JobId
from ..api.problems import answer
from ..api.series import Name, Question
from ..api.submission import view_of
from ..api.views import model_view
from ..contract.job import JobView, time_of
from ..contract.methods import AUTO, METHODS
from ..contract.progress import Progress
from ..contract.result import CertificateView
from ..contract.series import MOST_VERSION
from ..contract.stored import readable
from ..contract.uploads import ModelView
from ..errors import Forbidden, Problem, Unauthorized, UnknownModel, UnknownSeries
from ..refusals import InvalidRequest
from ..services import Services
from . import render
from .charts.draw import drawn
from .figures import Events
from .reference import Reference
from .report import lines_of, picture_of, report_of
from .series import page_of

SVG, HTML = "image/svg+xml", "text/html"
MOST_EVENTS = 20_000
"""Events that a chart of the bounds over time is drawn from."""


class PageRoute(APIRoute):
    """Problems as a page where the client is a browser."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler, its problems caught."""
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except Problem as problem:
                path = request.url.path
                return problem_page(problem, path) if wants_page(request) else answer(problem, path)

        return handled


open_router = APIRouter(tags=["Pages"], route_class=PageRoute)
router = APIRouter(prefix="/v1", tags=["Pages"], route_class=PageRoute, dependencies=[Depends(allowed)])

Accept = Annotated[str, Header()]


@open_router.get("/", response_class=Response, responses={200: {"content": {HTML: {}}}})
def get_start(request: Request) -> Response:
    """The start page."""
    methods = [(method, method.name in AUTO) for method in METHODS]
    is_signed_in = session.COOKIE in request.cookies
    return render.page(
        "start.html", "start.js", methods=methods, is_signed_in=is_signed_in, base_url=_base_url(request)
    )


@open_router.get("/docs", include_in_schema=False)
@open_router.get("/redoc", include_in_schema=False)
def get_reference(request: Request) -> Response:
    """The OpenAPI document as a page."""
    return render.page("reference.html", reference=Reference(request.app.openapi()))


@open_router.get(
    "/series/{name:path}",
    response_class=Response,
    responses=answers(Unauthorized, Forbidden, UnknownSeries, InvalidRequest, also={200: {"content": {HTML: {}}}}),
)
def get_series_page(
    name: Name,
    services: InServices,
    caller: InCaller,
    *,
    question: Question = None,
    before: Annotated[str | None, Query(max_length=MOST_VERSION, description="A version to compare ...")] = None,
    after: Annotated[str | None, Query(max_length=MOST_VERSION, description="... with this one.")] = None,
) -> Response:
    """A series as a page for people: the timeline, two versions side by side, links to reports."""
    page = page_of(services.series.view(caller.tenant, name, question), before, after)
    return render.page("series.html", None, page=page)


@router.get(
    "/jobs/{job_id}/report",
    response_class=Response,
    responses=answers(*NO_JOB, also={200: {"content": {HTML: {}, SVG: {}}}}),
)
def get_report(
    job_id: JobId, request: Request, services: InServices, caller: InCaller, accept: Accept = HTML
) -> Response:
    """The job as a page for people; as a picture where only that is accepted."""
    job, model = _found(services, caller.tenant, job_id)
    if SVG in accept and HTML not in accept:
        return _picture(job, model)
    proof = services.jobs.certificate(caller.tenant, job_id) if job.urls.certificate else None
    certificate = None if proof is None else readable(CertificateView, proof)
    report = report_of(job, model, _progress(services, job_id), certificate)
    return render.page("report.html", "report.js", report=report, base_url=_base_url(request))


@router.get(
    "/jobs/{job_id}/report.svg",
    response_class=Response,
    responses=answers(*NO_JOB, also={200: {"content": {SVG: {}}}}),
)
def get_picture(job_id: JobId, services: InServices, caller: InCaller) -> Response:
    """The job's bracket as a picture."""
    return _picture(*_found(services, caller.tenant, job_id))


def wants_page(request: Request) -> bool:
    """Whether the client is a browser."""
    return HTML in request.headers.get("accept", "")


def problem_page(problem: Problem, path: str) -> Response:
    """A problem in words, with the way to sign in where a key is missing."""
    document = problem.document(path)
    needs_key = isinstance(problem, Unauthorized | Forbidden)
    response = render.page(
        "problem.html",
        None,
        problem.status,
        problem=document,
        advice=advice(problem.slug),
        needs_key=needs_key,
    )
    response.headers.update(problem.headers)
    return response


def _picture(job: JobView, model: ModelView | None) -> Response:
    title, *lines = lines_of(job, model)
    return render.svg(drawn(picture_of(job, model), ". ".join([title, *lines])))


def _base_url(request: Request) -> str:
    return str(request.base_url).rstrip("/")


def _found(services: Services, tenant: str, job_id: str) -> tuple[JobView, ModelView | None]:
    """The job, and its model unless that was deleted."""
    job = view_of(services, services.jobs.get(tenant, job_id))
    try:
        return job, model_view(services.models.get(tenant, job.model))
    except UnknownModel:
        return job, None


def _progress(services: Services, job_id: str) -> Events:
    rows, latest = services.jobs.events(job_id, 0, MAX_EVENTS), list[Any]()
    while rows and len(latest) < MOST_EVENTS:
        latest += rows
        rows = services.jobs.events(job_id, latest[-1]["id"], MAX_EVENTS)
    return [(time_of(row["at"]), readable(Progress, row["data"])) for row in latest if row["type"] == "progress"]
