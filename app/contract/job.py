"""A job as callers see it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny

from . import examples
from .comparison import AnyQuestion, AnyResult
from .domain import Document
from .problem import ProblemView
from .progress import Progress


def time_of(seconds: float) -> datetime:
    """RFC 3339 time, UTC, of seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC)


class Urls(BaseModel):
    """Where the job's parts are; null where there is none (yet)."""

    self: str = Field(description="The job.")
    cancel: str = Field(description="POST ends it.")
    events: str = Field(description="What happened to it.")
    report: str | None = Field(description="A page for people.")
    certificate: str | None = Field(description="What proves the upper bound.")
    witness: str | None = Field(description="The two inputs that attain the lower bound, as npz.")
    radii: str | None = Field(
        default=None, description="Radii of all rows of the data set and adversarial inputs, as npz."
    )

    @classmethod
    def of(cls, job_id: str, has_certificate: bool, has_witness: bool, has_radii: bool = False) -> Urls:
        """Where the parts of a job are."""
        path = f"/v1/jobs/{job_id}"
        return cls(
            self=path,
            cancel=f"{path}/cancel",
            events=f"{path}/events",
            report=f"{path}/report",
            certificate=f"{path}/certificate" if has_certificate else None,
            witness=f"{path}/witness" if has_witness else None,
            radii=f"{path}/radii" if has_radii else None,
        )


class QueueView(BaseModel):
    """Where a job waits."""

    ahead: int = Field(
        description="How many others start before it, if none comes meanwhile; a short job may start sooner."
    )


class BracketView(BaseModel):
    """A result in short."""

    upper: float | None = Field(description="Certified upper bound.")
    lower: float | None = Field(description="Witnessed lower bound.")
    offset: float | None = Field(
        default=None, description="Where rounding counts as noise, the e of ||f(x) - f(y)|| <= upper ||x - y|| + e."
    )
    verdict: str | None = Field(description="pass, fail or inconclusive where a gate was given.")


class ComputedView(BaseModel):
    """How an answer came to be."""

    at: datetime = Field(description="When it was there first.")
    seconds: float = Field(description="From the start of the job that computed it to its end.")


class JobSummary(BaseModel):
    """A job without its result, as lists show it."""

    id: str = Field(description="The job's id, a UUID.")
    status: str = Field(description="queued, running, canceling, succeeded, failed, canceled or timed_out.")
    model: str = Field(description="SHA-256 of its model.")
    request: Annotated[AnyQuestion, SerializeAsAny()] = Field(
        union_mode="left_to_right",
        description="The canonical request, defaults filled in; a comparison's names the second model as `b`.",
    )
    metadata: Document = Field(description="The submitter's own, as it was sent.")
    priority: int = Field(description="Jobs of a higher priority start first.")
    timeout_s: float = Field(description="Hard time limit, in seconds.")
    progress: Progress | None = Field(
        description="How far a running job is; null before, and without a report.",
        json_schema_extra={"examples": [examples.PROGRESS]},
    )
    attempt: int = Field(description="How often it was started; more than once where a worker was lost.")
    worker: str | None = Field(description="Who works on it, or did last.")
    device: str | None = Field(description="cpu or cuda.")
    queue: QueueView | None = Field(description="Null unless the job is queued.")
    cached: bool = Field(description="Answered from an earlier job with the same question.")
    computed: ComputedView | None = Field(
        description="When and in what time the result was computed, by an earlier job where `cached`; null without one."
    )
    bracket: BracketView | None = Field(description="The result in short; null without one.")
    created_at: datetime = Field(description="When it was submitted.")
    started_at: datetime | None = Field(description="When it was started last.")
    finished_at: datetime | None = Field(description="When it was over; null until then.")
    expires_at: datetime | None = Field(description="When it will be forgotten.")
    error: ProblemView | None = Field(description="Why a job failed; null otherwise.")
    urls: Urls = Field(description="Where its parts are.")


class JobView(JobSummary):
    """A job with its result."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.JOB]})

    result: Annotated[AnyResult, SerializeAsAny()] | None = Field(
        union_mode="left_to_right", description="The bracket, or the comparison; null unless the job succeeded."
    )


class JobPage(BaseModel):
    """Jobs, newest first."""

    jobs: list[JobSummary] = Field(description="Without their results.")
    next_page_token: str | None = Field(description="For the query parameter `page_token`; null on the last page.")


class EventView(BaseModel):
    """Something that happened to a job."""

    id: int = Field(description="Larger than those of the events before.")
    at: datetime = Field(description="When it happened.")
    type: str = Field(description="status or progress.")
    data: Document = Field(description="The new status, or what was reported.")


class EventPage(BaseModel):
    """Events, oldest first."""

    events: list[EventView] = Field(description="Those after the one that was named.")
