"""The jobs of the contract."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import JSONResponse

from ..contract.job import EventPage, EventView, JobPage, JobView, time_of
from ..contract.request import AnalysisFields, JobRequest
from ..errors import (
    JobActive,
    JobExpired,
    MalformedJson,
    NoCertificate,
    NoRadii,
    NoWitness,
    QueueFull,
    QuotaExceeded,
    UnknownDataset,
    UnknownJob,
    UnknownModel,
)
from ..jobs.states import Status
from ..parsing import parse_fields
from ..refusals import InvalidRequest, TooLarge
from ..store.job_queries import Filter
from .bodies import small_body
from .callers import InCaller, allowed, require_allowed
from .dependencies import InServices, TakingWork
from .documents import answers, file_body, json_body, query_fields
from .events import MOST_EVENTS, event_stream, wants_stream
from .idempotency import InKey
from .models import CREATION_PROBLEMS, UPLOAD_PROBLEMS, admit
from .paging import InPages
from .problems import parse_json
from .queries import fields_of
from .series import AsVersion, name_version
from .submission import submit, submit_once, view_of
from .uploads import received_model
from .views import bracket_of, job_summary
from .waiting import until_over

MAX_REQUEST_BYTES = 8 * 2**20
router = APIRouter(prefix="/v1", tags=["Jobs"], dependencies=[Depends(allowed)])

JobId = Annotated[str, Path(max_length=36)]

SUBMISSION_PROBLEMS = (MalformedJson, InvalidRequest, UnknownDataset, *CREATION_PROBLEMS, QueueFull, QuotaExceeded)
NO_JOB = (UnknownJob, JobExpired)
MAX_EVENTS = 1000


@router.post(
    "/analyze",
    status_code=202,
    response_model=JobView,
    dependencies=[TakingWork],
    openapi_extra=file_body(with_request=True) | query_fields(),
    responses=answers(*UPLOAD_PROBLEMS, *SUBMISSION_PROBLEMS, also={200: {"model": JobView}}),
)
async def analyze(
    request: Request, services: InServices, caller: InCaller, named: AsVersion, key: InKey = None
) -> Response:
    """Upload a model and analyze it: one request, one answer with `Prefer: wait=N`."""
    asked = parse_fields(AnalysisFields, fields_of(request.query_params), is_text=True)
    async with received_model(request, services.blobs, services.settings.max_unpacked_bytes, ("request",)) as upload:

        async def act() -> Response:
            body = parse_json(upload.fields.get("request", b"{}"))
            query = asked.model_dump(exclude_unset=True)
            fields = parse_fields(AnalysisFields, body | query if isinstance(body, dict) else body)
            caller.require_priority(fields.priority)
            model, _ = await admit(services, caller, upload)
            await name_version(services, caller, named, model.id)
            return await submit(request, services, caller, model=model.id, fields=fields, key=key)

        return await submit_once(request, services, caller, key=key, received=upload.summary(), act=act)


@router.post(
    "/jobs",
    status_code=202,
    response_model=JobView,
    dependencies=[TakingWork],
    openapi_extra=json_body("JobRequest"),
    responses=answers(TooLarge, UnknownModel, *SUBMISSION_PROBLEMS, also={200: {"model": JobView}}),
)
async def submit_job(request: Request, services: InServices, caller: InCaller, key: InKey = None) -> Response:
    """Analyze an uploaded model."""
    body = await small_body(request, MAX_REQUEST_BYTES)

    async def act() -> Response:
        fields = parse_fields(JobRequest, parse_json(body))
        caller.require_priority(fields.priority)
        return await submit(request, services, caller, model=fields.model, fields=fields, key=key)

    received = hashlib.sha256(body).hexdigest()
    return await submit_once(request, services, caller, key=key, received=received, act=act)


@router.get("/jobs", responses=answers(InvalidRequest))
def list_jobs(
    services: InServices,
    caller: InCaller,
    page: InPages,
    *,
    status: Annotated[Status | None, Query()] = None,
    model: Annotated[str | None, Query(description="SHA-256 of the model.")] = None,
    method: Annotated[str | None, Query(description="A method that the request names.")] = None,
    created_after: Annotated[datetime | None, Query(description="RFC 3339 time.")] = None,
) -> JobPage:
    """Jobs without their results, newest first."""
    wanted = Filter(status, model, method, _seconds(created_after))
    records = services.jobs.page(caller.tenant, wanted, page.limit, page.after)
    shown, token = page.cut(records, lambda job: (job.created_at, job.id))
    ahead, brackets = services.jobs.ahead(shown), services.jobs.brackets(shown)
    views = [job_summary(job, ahead.get(job.id), bracket_of(brackets.get(job.id))) for job in shown]
    return JobPage(jobs=views, next_page_token=token)


@router.get("/jobs/{job_id}", response_model_exclude_unset=True, responses=answers(*NO_JOB))
async def get_job(
    job_id: JobId,
    services: InServices,
    caller: InCaller,
    wait: Annotated[float, Query(ge=0, description="Seconds to wait for the job's end.")] = 0,
) -> JobView:
    """One job, with its result once it has succeeded."""
    job = await to_thread.run_sync(services.jobs.get, caller.tenant, job_id)
    if wait and not job.is_over:
        job = await until_over(services, job, min(wait, services.settings.max_wait_s))
        await require_allowed(services, caller)
    return await to_thread.run_sync(view_of, services, job)


@router.post(
    "/jobs/{job_id}/cancel",
    status_code=202,
    response_model_exclude_unset=True,
    responses=answers(*NO_JOB, also={200: {"model": JobView, "description": "The job was already over."}}),
)
def cancel_job(job_id: JobId, response: Response, services: InServices, caller: InCaller) -> JobView:
    """Ask for a job's end; a running job ends when its process is killed, within half a second."""
    if services.jobs.get(caller.tenant, job_id).is_over:
        response.status_code = 200
    return view_of(services, services.jobs.cancel(caller.tenant, job_id))


@router.delete("/jobs/{job_id}", status_code=204, responses=answers(*NO_JOB, JobActive))
def delete_job(job_id: JobId, services: InServices, caller: InCaller) -> None:
    """Forget a job that is over, with its result."""
    services.jobs.delete(caller.tenant, job_id)


@router.get(
    "/jobs/{job_id}/events",
    response_model=EventPage,
    responses=answers(*NO_JOB, also={200: {"content": {"text/event-stream": {}}}}),
)
async def get_events(
    job_id: JobId,
    request: Request,
    services: InServices,
    caller: InCaller,
    after: Annotated[int, Query(ge=0, le=MOST_EVENTS, description="Number of the last event that is known.")] = 0,
) -> EventPage | Response:
    """What happens to the job: server-sent events where they are accepted, else a page of those so far."""
    job = await to_thread.run_sync(services.jobs.get, caller.tenant, job_id)
    if wants_stream(request):
        return event_stream(request, services, caller, job, after)
    rows = await to_thread.run_sync(services.jobs.events, job_id, after, MAX_EVENTS)
    return EventPage(
        events=[EventView(id=row["id"], at=time_of(row["at"]), type=row["type"], data=row["data"]) for row in rows]
    )


@router.get(
    "/jobs/{job_id}/witness",
    response_class=Response,
    responses=answers(*NO_JOB, NoWitness, also={200: {"content": {"application/x-npz": {}}}}),
)
def get_witness(job_id: JobId, services: InServices, caller: InCaller) -> Response:
    """The pair of inputs behind the lower bound, as a numpy npz file."""
    headers = {"Content-Disposition": f'attachment; filename="{job_id}.npz"'}
    return Response(services.jobs.witness(caller.tenant, job_id), media_type="application/x-npz", headers=headers)


@router.get(
    "/jobs/{job_id}/radii",
    response_class=Response,
    responses=answers(*NO_JOB, NoRadii, also={200: {"content": {"application/x-npz": {}}}}),
)
def get_radii(job_id: JobId, services: InServices, caller: InCaller) -> Response:
    """Radii of all rows of the data set, and the adversarial inputs that were found, as a numpy npz file."""
    headers = {"Content-Disposition": f'attachment; filename="{job_id}-radii.npz"'}
    return Response(services.jobs.radii(caller.tenant, job_id), media_type="application/x-npz", headers=headers)


@router.get(
    "/jobs/{job_id}/certificate",
    response_class=JSONResponse,
    responses=answers(*NO_JOB, NoCertificate, also={200: {"content": {"application/json": {}}}}),
)
def get_certificate(job_id: JobId, services: InServices, caller: InCaller) -> Response:
    """The proof behind the upper bound, which `lipserve verify MODEL CERTIFICATE` checks again."""
    headers = {"Content-Disposition": f'attachment; filename="{job_id}.json"'}
    return JSONResponse(services.jobs.certificate(caller.tenant, job_id), headers=headers)


def _seconds(time: datetime | None) -> float | None:
    if time is None:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
