"""Records of the service as the contract's types, and those as answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from ..contract.comparison import stored_question, stored_result
from ..contract.domain import Document
from ..contract.job import BracketView, ComputedView, JobSummary, JobView, QueueView, Urls, time_of
from ..contract.plain import Json
from ..contract.problem import ProblemView
from ..contract.progress import Progress
from ..contract.stored import readable
from ..contract.uploads import DatasetView, FileView, ModelView
from ..jobs.admission import ModelRecord
from ..jobs.datasets import DatasetRecord
from ..jobs.record import JobRecord
from ..jobs.states import Status


def model_view(record: ModelRecord) -> ModelView:
    """The view of a model's record."""
    whole = FileView(name=record.name, sha256=record.id, size_bytes=record.size_bytes)
    facts: Json = {"files": [whole]} | record.inspection
    return ModelView(
        id=record.id,
        name=record.name,
        format=record.format,
        size_bytes=record.size_bytes,
        created_at=time_of(record.created_at),
        **facts,
    )


def dataset_view(record: DatasetRecord) -> DatasetView:
    """The view of a data set's record."""
    return DatasetView(**asdict(record) | {"created_at": time_of(record.created_at)})


def job_summary(job: JobRecord, ahead: int | None, bracket: BracketView | None) -> JobSummary:
    """The view of a job's record, of how many are ahead of it, and of its result in short."""
    return JobSummary(
        id=job.id,
        status=job.status,
        model=job.model,
        request=stored_question(job.request),
        metadata=job.metadata,
        priority=job.priority,
        timeout_s=job.timeout_s,
        progress=None if job.progress is None else readable(Progress, job.progress),
        attempt=job.attempt,
        worker=job.worker,
        device=job.device,
        queue=None if ahead is None else QueueView(ahead=ahead),
        cached=job.cached,
        computed=_computed(job),
        bracket=bracket,
        created_at=time_of(job.created_at),
        started_at=_optional_time(job.started_at),
        finished_at=_optional_time(job.finished_at),
        expires_at=_optional_time(job.expires_at),
        error=None if job.error is None else readable(ProblemView, job.error),
        urls=Urls.of(job.id, job.has_certificate, job.has_witness, job.has_radii),
    )


def job_view(job: JobRecord, result: Document | None, ahead: int | None = None) -> JobView:
    """The view of a job's record, of its result, and of how many are ahead of it."""
    summary = job_summary(job, ahead, bracket_of(result))
    return JobView(**dict(summary), result=None if result is None else stored_result(result))


def created(view: BaseModel, location: str, is_new: bool) -> Response:
    """The answer of a POST or PUT: 201 when the thing is new, 200 when it is known."""
    status, headers = (201 if is_new else 200), {"Location": location}
    return Response(view.model_dump_json(), status, headers, JSONResponse.media_type)


def bracket_of(result: Mapping[str, Any] | None) -> BracketView | None:
    """A result in short."""
    if result is None:
        return None
    upper, lower, offset = ((result.get(end) or {}).get("value") for end in ("upper", "lower", "offset"))
    return BracketView(upper=upper, lower=lower, offset=offset, verdict=result.get("verdict"))


def _computed(job: JobRecord) -> ComputedView | None:
    if job.status is not Status.SUCCEEDED or job.finished_at is None or job.started_at is None:
        return None
    at = job.finished_at if job.computed_at is None else job.computed_at
    seconds = job.finished_at - job.started_at if job.computed_s is None else job.computed_s
    return ComputedView(at=time_of(at), seconds=max(0.0, seconds))


def _optional_time(seconds: float | None) -> datetime | None:
    return None if seconds is None else time_of(seconds)
