"""What can be done with a job: submit, look at, cancel, delete."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import RowMapping

import app
from app.errors import JobActive, NoCertificate, NoWitness, Problem, UnknownDataset, UnknownJob, UnknownModel
from app.jobs.dispatcher import Dispatcher
from app.jobs.record import JobRecord, Kind
from app.jobs.states import CANCEL_QUEUED, CANCEL_RUNNING, TERMINAL, Status
from app.jobs.watch import Watch
from app.store.blobs import Blobs
from app.store.jobs import Filter, JobRepository

COPIED = (
    "kind", "status", "model", "blob", "request", "methods", "cache_key", "device", "has_witness", "has_certificate",
    "dataset",
)  # fmt: skip
"""What a job that is answered from an earlier one takes over."""


@dataclass(frozen=True)
class Submission:
    """What is asked for. `request` is canonical: the same question is the same JSON, defaults filled in."""

    model: str
    request: dict[str, Any]
    timeout_s: float
    priority: int = 5
    metadata: dict[str, Any] = field(default_factory=dict)
    use_cache: bool = True

    @property
    def dataset(self) -> str | None:
        """Digest of the data set that the request names."""
        return self.request.get("dataset")


class JobService:
    """Decides; the repository queries, the dispatcher rings, the watch wakes."""

    def __init__(self, repository: JobRepository, dispatcher: Dispatcher, watch: Watch) -> None:
        self._repository = repository
        self._dispatcher = dispatcher
        self._watch = watch

    def submit(self, submission: Submission) -> JobRecord:
        """Queue an analysis, or answer it from an earlier one; UnknownModel or UnknownDataset where there is none."""
        key = _cache_key(submission.model, submission.request)
        cached = self._answered(submission, key) if submission.use_cache else None
        if cached is not None:
            return cached
        values = _values(
            Kind.ANALYZE,
            submission.model,
            Blobs.key(submission.model),
            request=submission.request,
            metadata=submission.metadata,
            methods=_method_list(submission.request),
            cache_key=key,
            priority=submission.priority,
            timeout_s=submission.timeout_s,
            dataset=submission.dataset,
        )
        row = self._repository.insert_analysis(values)
        if row is None:
            raise self._unknown(submission)
        return self._queued(row)

    def submit_inspection(self, sha256: str, blob: str, timeout_s: float) -> JobRecord:
        """Queue the inspection of a file that is not a model yet."""
        values = _values(Kind.INSPECT, sha256, blob, timeout_s=timeout_s)
        return self._queued(self._repository.insert(values))

    def get(self, job_id: str) -> JobRecord:
        """The job; UnknownJob where there is none."""
        row = self._repository.get(job_id)
        if row is None:
            raise UnknownJob(f"No job {job_id}.")
        return JobRecord.of(row)

    def result(self, job: JobRecord) -> dict[str, Any] | None:
        """What the job found, None unless it succeeded."""
        return self._repository.result(job.id) if job.status is Status.SUCCEEDED else None

    def witness(self, job_id: str) -> bytes:
        """The job's witness as an npz file; NoWitness where there is none."""
        job = self.get(job_id)
        witness = self._repository.witness(job_id)
        if witness is None:
            raise NoWitness(f"Job {job_id} ({job.status}) holds no witness.")
        return witness

    def certificate(self, job_id: str) -> dict[str, Any]:
        """The job's certificate; NoCertificate where there is none."""
        job = self.get(job_id)
        certificate: dict[str, Any] | None = self._repository.certificate(job_id)
        if certificate is None:
            raise NoCertificate(f"Job {job_id} ({job.status}) holds no certificate.")
        return certificate

    def page(self, wanted: Filter, limit: int, after: tuple[float, str] | None) -> list[JobRecord]:
        """Analyses, newest first."""
        return [JobRecord.of(row) for row in self._repository.page(Kind.ANALYZE, wanted, limit, after)]

    def events(self, job_id: str, after: int, limit: int) -> Sequence[RowMapping]:
        """What happened to the job after the event of that number."""
        return self._repository.events(job_id, after, limit)

    def cancel(self, job_id: str) -> JobRecord:
        """Ask for the job's end: a queued job ends at once, a running one when its child is killed."""
        self.get(job_id)
        self._repository.close(job_id, CANCEL_QUEUED) or self._repository.change(job_id, CANCEL_RUNNING)
        self._watch.changed(job_id)
        return self.get(job_id)

    def delete(self, job_id: str) -> None:
        """Forget a job that is over; JobActive before."""
        job = self.get(job_id)
        if not self._repository.remove(job_id, TERMINAL):
            raise JobActive(f"Job {job_id} is {job.status}; cancel it first.")

    def counts(self) -> dict[Status, int]:
        """Number of analyses by status."""
        counts = self._repository.counts()
        return {status: counts.get((Kind.ANALYZE, status), 0) for status in Status}

    def _answered(self, submission: Submission, key: str) -> JobRecord | None:
        source = self._repository.finished_like(key, Status.SUCCEEDED)
        earlier = self._repository.get(source) if source else None
        if earlier is None:
            return None
        values = {
            "id": str(uuid.uuid4()),
            "metadata": submission.metadata,
            "priority": submission.priority,
            "timeout_s": submission.timeout_s,
            "cached": True,
            "attempt": 0,
            "losses": 0,
        }
        row = self._repository.insert_copy(values | {name: earlier[name] for name in COPIED}, earlier["id"])
        return JobRecord.of(row) if row is not None else None

    def _unknown(self, submission: Submission) -> Problem:
        if not self._repository.has_model(submission.model):
            return UnknownModel(f"No model {submission.model} has been uploaded.")
        return UnknownDataset(f"No data set {submission.dataset} has been uploaded.")

    def _queued(self, row: RowMapping) -> JobRecord:
        job = JobRecord.of(row)
        self._dispatcher.notify(job.id, job.priority)
        return job


def _values(kind: Kind, model: str, blob: str, **others: Any) -> dict[str, Any]:
    """The row of a new job."""
    defaults = {
        "id": str(uuid.uuid4()),
        "kind": kind,
        "status": Status.QUEUED,
        "model": model,
        "blob": blob,
        "request": {},
        "metadata": {},
        "methods": "",
        "cache_key": "",
        "cached": False,
        "priority": 5,
        "attempt": 0,
        "losses": 0,
        "has_witness": False,
        "has_certificate": False,
        "dataset": None,
    }
    return defaults | others


def _cache_key(model: str, request: dict[str, Any]) -> str:
    question = json.dumps([app.__version__, model, request], sort_keys=True, allow_nan=False)
    return hashlib.sha256(question.encode()).hexdigest()


def _method_list(request: dict[str, Any]) -> str:
    """The methods asked for as one string, for the listing's filter: `,autolip,gradient,`."""
    methods = request["methods"]
    return f",{','.join([methods] if isinstance(methods, str) else methods)},"
