"""What the service answers: records as the JSON of the contract."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api import examples
from app.contract.graph import GraphFacts, TensorView
from app.jobs.admission import ModelRecord
from app.jobs.datasets import DatasetRecord
from app.jobs.record import JobRecord
from app.jobs.states import Status


class FileView(BaseModel):
    """A file that a model consists of."""

    name: str = Field(description="Its path beside the model.")
    sha256: str
    size_bytes: int


class ModelView(BaseModel):
    """An uploaded model."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.MODEL]})

    id: str = Field(description="SHA-256 of the file; of several files, that of their sorted lines `<sha256>  <name>`.")
    name: str
    format: str
    size_bytes: int
    files: list[FileView] = Field(description="One, or an ONNX model with the files that hold its weights.")
    created_at: datetime
    inputs: list[TensorView]
    outputs: list[TensorView]
    parameters: int
    operators: dict[str, int] = Field(description="Operators of the file's graph, with their number.")
    unsupported: list[str] = Field(description="Operators without a rule.")
    warnings: list[str]

    @classmethod
    def of(cls, record: ModelRecord) -> ModelView:
        """The view of a record."""
        whole = {"name": record.name, "sha256": record.id, "size_bytes": record.size_bytes}
        return cls(
            id=record.id,
            name=record.name,
            format=record.format,
            size_bytes=record.size_bytes,
            created_at=time_of(record.created_at),
            **{"files": [whole]} | record.inspection,
        )


class ModelPage(BaseModel):
    """Models, newest first."""

    models: list[ModelView]
    next_page_token: str | None


class GraphView(GraphFacts):
    """A captured graph, each node after those that it reads."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.GRAPH]})

    model: str


class ArrayView(BaseModel):
    """One stored array."""

    datatype: str
    shape: list[int]


class DatasetView(BaseModel):
    """An uploaded data set."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.DATASET]})

    id: str = Field(description="SHA-256 of the file.")
    name: str
    size_bytes: int
    created_at: datetime
    inputs: ArrayView = Field(description="One row a sample: flat, or in the shape of the model's input.")
    labels: ArrayView | None = Field(description="One class a sample; null without.")

    @classmethod
    def of(cls, record: DatasetRecord) -> DatasetView:
        """The view of a record."""
        return cls(**asdict(record) | {"created_at": time_of(record.created_at)})


class DatasetPage(BaseModel):
    """Data sets, newest first."""

    datasets: list[DatasetView]
    next_page_token: str | None


class Urls(BaseModel):
    """Where the job's parts are; null where there is none (yet)."""

    self: str
    cancel: str
    events: str
    report: str | None
    certificate: str | None
    witness: str | None


class QueueView(BaseModel):
    """Where a job waits."""

    ahead: int = Field(
        description="How many others start before it, if none comes meanwhile; a short job may start sooner."
    )


class BracketView(BaseModel):
    """A result in short."""

    upper: float | None = Field(description="Certified upper bound.")
    lower: float | None = Field(description="Witnessed lower bound.")
    verdict: str | None = Field(description="pass, fail or inconclusive where a gate was given.")


class ComputedView(BaseModel):
    """How an answer came to be."""

    at: datetime = Field(description="When it was there first.")
    seconds: float = Field(description="From the start of the job that computed it to its end.")


class JobSummary(BaseModel):
    """A job without its result, as lists show it."""

    id: str
    status: str = Field(description="queued, running, canceling, succeeded, failed, canceled or timed_out.")
    model: str
    request: dict[str, Any] = Field(description="The canonical request, defaults filled in.")
    metadata: dict[str, Any]
    priority: int
    timeout_s: float
    progress: dict[str, Any] | None = Field(json_schema_extra={"examples": [examples.PROGRESS]})
    attempt: int
    worker: str | None
    device: str | None
    queue: QueueView | None = Field(description="Null unless the job is queued.")
    cached: bool = Field(description="Answered from an earlier job with the same question.")
    computed: ComputedView | None = Field(
        description="When and in what time the result was computed, by an earlier job where `cached`; null without one."
    )
    bracket: BracketView | None = Field(description="The result in short; null without one.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    error: dict[str, Any] | None = Field(description="Problem document of a job that failed.")
    urls: Urls

    @classmethod
    def of(cls, job: JobRecord, ahead: int | None, bracket: BracketView | None) -> JobSummary:
        """The view of a record, of how many are ahead of it, and of its result in short."""
        return cls(**_members(job, ahead), bracket=bracket)


class JobView(JobSummary):
    """A job with its result."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.JOB]})

    result: dict[str, Any] | None

    @classmethod
    def finished(cls, job: JobRecord, result: dict[str, Any] | None, ahead: int | None = None) -> JobView:
        """The view of a record, of its result, and of how many are ahead of it."""
        return cls(**_members(job, ahead), bracket=bracket_of(result), result=result)


class JobPage(BaseModel):
    """Jobs, newest first."""

    jobs: list[JobSummary]
    next_page_token: str | None


class EventView(BaseModel):
    """Something that happened to a job."""

    id: int
    at: datetime
    type: str = Field(description="status or progress.")
    data: dict[str, Any]


class EventPage(BaseModel):
    """Events, oldest first."""

    events: list[EventView]


def created(view: BaseModel, location: str, is_new: bool) -> Response:
    """The answer of a POST or PUT: 201 when the thing is new, 200 when it is known."""
    status, headers = (201 if is_new else 200), {"Location": location}
    return Response(view.model_dump_json(), status, headers, JSONResponse.media_type)


def time_of(seconds: float) -> datetime:
    """RFC 3339 time, UTC, of seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC)


def bracket_of(result: dict[str, Any] | None) -> BracketView | None:
    """A result in short."""
    if result is None:
        return None
    upper, lower = ((result.get(end) or {}).get("value") for end in ("upper", "lower"))
    return BracketView(upper=upper, lower=lower, verdict=result.get("verdict"))


def _members(job: JobRecord, ahead: int | None) -> dict[str, Any]:
    return {
        "id": job.id,
        "status": job.status,
        "model": job.model,
        "request": job.request,
        "metadata": job.metadata,
        "priority": job.priority,
        "timeout_s": job.timeout_s,
        "progress": job.progress,
        "attempt": job.attempt,
        "worker": job.worker,
        "device": job.device,
        "queue": None if ahead is None else QueueView(ahead=ahead),
        "cached": job.cached,
        "computed": _computed(job),
        "created_at": time_of(job.created_at),
        "started_at": _optional_time(job.started_at),
        "finished_at": _optional_time(job.finished_at),
        "expires_at": _optional_time(job.expires_at),
        "error": job.error,
        "urls": urls_of(job.id, job.has_certificate, job.has_witness),
    }


def _computed(job: JobRecord) -> ComputedView | None:
    if job.status is not Status.SUCCEEDED or job.finished_at is None or job.started_at is None:
        return None
    at = job.finished_at if job.computed_at is None else job.computed_at
    seconds = job.finished_at - job.started_at if job.computed_s is None else job.computed_s
    return ComputedView(at=time_of(at), seconds=max(0.0, seconds))


def _optional_time(seconds: float | None) -> datetime | None:
    return None if seconds is None else time_of(seconds)


def urls_of(job_id: str, has_certificate: bool, has_witness: bool) -> Urls:
    """Where the parts of a job are."""
    path = f"/v1/jobs/{job_id}"
    return Urls(
        self=path,
        cancel=f"{path}/cancel",
        events=f"{path}/events",
        report=f"{path}/report",
        certificate=f"{path}/certificate" if has_certificate else None,
        witness=f"{path}/witness" if has_witness else None,
    )
