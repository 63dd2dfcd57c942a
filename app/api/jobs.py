"""The jobs of the contract."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse

from app.api.documents import answers, file_body, json_body, query_fields
from app.api.events import event_stream, wants_stream
from app.api.house import InHouse
from app.api.models import UPLOAD_PROBLEMS, admitted
from app.api.pages import InPages
from app.api.problems import parse_json
from app.api.queries import fields_of
from app.api.requests import MAX_REQUEST_BYTES, AnalysisFields, JobRequest, parse_fields
from app.api.submission import submitted, view_of
from app.api.uploads import received
from app.api.views import EventPage, EventView, JobPage, JobSummary, JobView, time_of
from app.api.waiting import until_over
from app.errors import (
    InvalidRequest,
    JobActive,
    MalformedJson,
    NoCertificate,
    NoWitness,
    TooLarge,
    UnknownDataset,
    UnknownJob,
    UnknownModel,
)
from app.jobs.states import Status
from app.store.jobs import Filter

router = APIRouter(prefix="/v1", tags=["Jobs"])

JobId = Annotated[str, Path(max_length=36)]

MAX_EVENTS = 1000


@router.post(
    "/analyze",
    status_code=202,
    response_model=JobView,
    openapi_extra=file_body(with_request=True) | query_fields(),
    responses=answers(MalformedJson, *UPLOAD_PROBLEMS, InvalidRequest, UnknownDataset, also={200: {"model": JobView}}),
)
async def analyze(request: Request, house: InHouse) -> Response:
    """Upload a model and analyze it: one request, one answer with `Prefer: wait=N`."""
    asked = parse_fields(AnalysisFields, fields_of(request.query_params), is_text=True)
    async with received(request, house.blobs, parts=("request",)) as upload:
        body = parse_json(upload.fields.get("request", b"{}"))
        query = asked.model_dump(exclude_unset=True)
        fields = parse_fields(AnalysisFields, body | query if isinstance(body, dict) else body)
        model, _ = await admitted(house, upload)
    return await submitted(request, house, model.id, fields)


@router.post(
    "/jobs",
    status_code=202,
    response_model=JobView,
    openapi_extra=json_body("JobRequest"),
    responses=answers(
        MalformedJson, TooLarge, InvalidRequest, UnknownModel, UnknownDataset, also={200: {"model": JobView}}
    ),
)
async def submit_job(request: Request, house: InHouse) -> Response:
    """Analyze an uploaded model."""
    fields = parse_fields(JobRequest, parse_json(await _small_body(request)))
    return await submitted(request, house, fields.model, fields)


@router.get("/jobs", responses=answers(InvalidRequest))
def list_jobs(
    house: InHouse,
    page: InPages,
    status: Annotated[Status | None, Query()] = None,
    model: Annotated[str | None, Query(description="SHA-256 of the model.")] = None,
    method: Annotated[str | None, Query(description="A method that the request names.")] = None,
    created_after: Annotated[datetime | None, Query(description="RFC 3339 time.")] = None,
) -> JobPage:
    """Jobs without their results, newest first."""
    wanted = Filter(status, model, method, _seconds(created_after))
    records = house.jobs.page(wanted, page.limit, page.after)
    shown, token = page.cut(records, lambda job: (job.created_at, job.id))
    return JobPage(jobs=[JobSummary.of(job) for job in shown], next_page_token=token)


@router.get("/jobs/{job_id}", responses=answers(UnknownJob))
async def get_job(
    job_id: JobId,
    house: InHouse,
    wait: Annotated[float, Query(ge=0, description="Seconds to wait for the job's end.")] = 0,
) -> JobView:
    """One job, with its result once it has succeeded."""
    job = await to_thread.run_sync(house.jobs.get, job_id)
    if wait and not job.is_over:
        job = await until_over(house, job, min(wait, house.settings.max_wait_s))
    return await to_thread.run_sync(view_of, house, job)


@router.post(
    "/jobs/{job_id}/cancel",
    status_code=202,
    responses=answers(UnknownJob, also={200: {"model": JobView, "description": "The job was already over."}}),
)
def cancel_job(job_id: JobId, response: Response, house: InHouse) -> JobView:
    """Ask for a job's end; a running job ends when its process is killed, within half a second."""
    if house.jobs.get(job_id).is_over:
        response.status_code = 200
    return view_of(house, house.jobs.cancel(job_id))


@router.delete("/jobs/{job_id}", status_code=204, responses=answers(UnknownJob, JobActive))
def delete_job(job_id: JobId, house: InHouse) -> None:
    """Forget a job that is over, with its result."""
    house.jobs.delete(job_id)


@router.get(
    "/jobs/{job_id}/events",
    response_model=EventPage,
    responses=answers(UnknownJob, also={200: {"content": {"text/event-stream": {}}}}),
)
async def get_events(
    job_id: JobId,
    request: Request,
    house: InHouse,
    after: Annotated[int, Query(ge=0, description="Number of the last event that is known.")] = 0,
) -> EventPage | Response:
    """What happens to the job: server-sent events where they are accepted, else a page of those so far."""
    await to_thread.run_sync(house.jobs.get, job_id)
    if wants_stream(request):
        return event_stream(request, house, job_id, after)
    rows = await to_thread.run_sync(house.jobs.events, job_id, after, MAX_EVENTS)
    return EventPage(
        events=[EventView(id=row["id"], at=time_of(row["at"]), type=row["type"], data=row["data"]) for row in rows]
    )


@router.get(
    "/jobs/{job_id}/witness",
    response_class=Response,
    responses=answers(UnknownJob, NoWitness, also={200: {"content": {"application/x-npz": {}}}}),
)
def get_witness(job_id: JobId, house: InHouse) -> Response:
    """The pair of inputs behind the lower bound, as a numpy npz file."""
    headers = {"Content-Disposition": f'attachment; filename="{job_id}.npz"'}
    return Response(house.jobs.witness(job_id), media_type="application/x-npz", headers=headers)


@router.get(
    "/jobs/{job_id}/certificate",
    response_class=JSONResponse,
    responses=answers(UnknownJob, NoCertificate, also={200: {"content": {"application/json": {}}}}),
)
def get_certificate(job_id: JobId, house: InHouse) -> Response:
    """The proof behind the upper bound, which `lipserve verify MODEL CERTIFICATE` checks again."""
    headers = {"Content-Disposition": f'attachment; filename="{job_id}.json"'}
    return JSONResponse(house.jobs.certificate(job_id), headers=headers)


async def _small_body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_REQUEST_BYTES:
            raise TooLarge(f"A request may take {MAX_REQUEST_BYTES} bytes.")
    return bytes(body)


def _seconds(time: datetime | None) -> float | None:
    if time is None:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
