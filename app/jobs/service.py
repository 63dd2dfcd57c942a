"""What can be done with a job: submit, look at, cancel, delete."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlalchemy import RowMapping

from ..contract.comparison import other_model
from ..contract.plain import Json
from ..errors import (
    JobActive,
    JobExpired,
    NoCertificate,
    NoRadii,
    NoWitness,
    Problem,
    UnknownDataset,
    UnknownJob,
    UnknownModel,
)
from ..settings import Settings
from ..store.admission import QueueTerms
from ..store.blobs import Blobs
from ..store.job_queries import Filter
from ..store.jobs import JobRepository
from .dispatcher import Dispatcher
from .lanes import is_quick_analysis
from .record import JobRecord, Kind
from .rows import cache_key, computed, method_list, new_row
from .states import CANCEL_QUEUED, CANCEL_RUNNING, CLAIM, TERMINAL, Status
from .submission import Submission
from .watch import Watch

COPIED = (
    "kind", "status", "model", "blob", "request", "methods", "cache_key", "device", "has_witness", "has_certificate",
    "has_radii", "dataset", "tenant",
)  # fmt: skip
"""What a job that is answered from an earlier one takes over."""

GRAPH_PRIORITY = 4
"""Below an upload's, with which it shares its slot."""


class JobService:
    """Decides; the repository queries, the dispatcher rings, the watch wakes."""

    def __init__(self, repository: JobRepository, dispatcher: Dispatcher, watch: Watch, settings: Settings) -> None:
        self._repository = repository
        self._dispatcher = dispatcher
        self._watch = watch
        self._settings = settings

    def submit(self, submission: Submission) -> JobRecord:
        """Queue an analysis, or answer it from an earlier one.

        Raises UnknownModel or UnknownDataset where there is none, QueueFull or QuotaExceeded where too many wait.
        """
        key = cache_key(submission)
        cached = self._answered(submission, key) if submission.use_cache else None
        if cached is not None:
            return cached
        values = new_row(
            Kind.ANALYZE,
            submission.model,
            Blobs.key(submission.model),
            request=submission.request,
            metadata=submission.metadata,
            methods=method_list(submission.request),
            cache_key=key,
            priority=submission.priority,
            timeout_s=submission.timeout_s,
            dataset=submission.dataset,
            tenant=submission.tenant,
            webhook_url=submission.webhook_url,
            quick=self._is_quick(submission),
        )
        row = self._repository.insert_analysis(
            values, self._terms(submission.queue_timeout_s), submission.idempotency_key
        )
        if row is None:
            raise self._unknown(submission)
        return self._queued(row)

    def submit_inspection(
        self, tenant: str, sha256: str, blob: str, timeout_s: float, *, quick: bool = False, program: bool = False
    ) -> JobRecord:
        """Queue the inspection of a file that is not a model yet: whether it should be short, and runs the file."""
        terms = {"timeout_s": timeout_s, "tenant": tenant, "quick": quick, "program": program}
        values = new_row(Kind.INSPECT, sha256, blob, **terms)
        return self._queued(self._repository.insert(values))

    def submit_graph(self, tenant: str, sha256: str, request: Json, timeout_s: float) -> JobRecord:
        """Queue the capture of a model's graph; uploads go first.

        Raises UnknownModel where there is none, QueueFull or QuotaExceeded where too many wait.
        """
        values = new_row(
            Kind.GRAPH,
            sha256,
            Blobs.key(sha256),
            request=request,
            priority=GRAPH_PRIORITY,
            timeout_s=timeout_s,
            tenant=tenant,
        )
        row = self._repository.insert_analysis(values, self._terms())
        if row is None:
            raise _unknown_model(sha256)
        return self._queued(row)

    def get(self, tenant: str, job_id: str) -> JobRecord:
        """The tenant's job; UnknownJob where there is none, JobExpired where it is no longer kept."""
        row = self._repository.get(tenant, job_id)
        if row is None:
            raise UnknownJob(f"No job {job_id}.")
        if row["expired"]:
            raise JobExpired(f"Job {job_id} was over long ago ({row['status']}); its result is no longer kept.")
        return JobRecord.of(row)

    def result(self, job: JobRecord) -> Json | None:
        """What the job found, None unless it succeeded."""
        return self._repository.result(job.id) if job.status is Status.SUCCEEDED else None

    def brackets(self, jobs: Sequence[JobRecord]) -> dict[str, Json]:
        """`upper`, `lower` and `verdict` of each job that succeeded."""
        return self._repository.brackets([job.id for job in jobs if job.status is Status.SUCCEEDED])

    def witness(self, tenant: str, job_id: str) -> bytes:
        """The job's witness as an npz file; NoWitness where there is none."""
        job = self.get(tenant, job_id)
        witness = self._repository.witness(job_id)
        if witness is None:
            raise NoWitness(f"Job {job_id} ({job.status}) holds no witness.")
        return witness

    def radii(self, tenant: str, job_id: str) -> bytes:
        """The radii of all rows as an npz file; NoRadii where there are none."""
        job = self.get(tenant, job_id)
        radii = self._repository.radii(job_id)
        if radii is None:
            raise NoRadii(f"Job {job_id} ({job.status}) holds no radii.")
        return radii

    def certificate(self, tenant: str, job_id: str) -> Json:
        """The job's certificate; NoCertificate where there is none."""
        job = self.get(tenant, job_id)
        certificate: Json | None = self._repository.certificate(job_id)
        if certificate is None:
            raise NoCertificate(f"Job {job_id} ({job.status}) holds no certificate.")
        return certificate

    def page(self, tenant: str, wanted: Filter, limit: int, after: tuple[float, str] | None) -> list[JobRecord]:
        """The tenant's analyses, newest first."""
        return [JobRecord.of(row) for row in self._repository.page(tenant, Kind.ANALYZE, wanted, limit, after)]

    def ahead(self, jobs: Sequence[JobRecord]) -> dict[str, int]:
        """For each of a tenant's jobs that waits, how many others start before it; none where none waits."""
        waiting = {job.id: job for job in jobs if job.status is Status.QUEUED}
        if not waiting:
            return {}
        first = next(iter(waiting.values()))
        return self._repository.ahead(CLAIM, first.tenant, first.kind, waiting)

    def events(self, job_id: str, after: int, limit: int) -> Sequence[RowMapping]:
        """What happened to the job after the event of that number."""
        return self._repository.events(job_id, after, limit)

    def cancel(self, tenant: str, job_id: str) -> JobRecord:
        """Ask for the job's end: a queued job ends at once, a running one when its child is killed."""
        self.get(tenant, job_id)
        self._repository.close(job_id, CANCEL_QUEUED) or self._repository.change(job_id, CANCEL_RUNNING)
        self._watch.changed(job_id)
        return self.get(tenant, job_id)

    def delete(self, tenant: str, job_id: str) -> None:
        """Forget a job that is over; JobActive before."""
        job = self.get(tenant, job_id)
        if not self._repository.remove(job_id, TERMINAL):
            raise JobActive(f"Job {job_id} is {job.status}; cancel it first.")

    def counts(self) -> dict[Status, int]:
        """Number of analyses by status, of all tenants."""
        counts = self._repository.counts()
        return {status: counts.get((Kind.ANALYZE, status), 0) for status in Status}

    def _answered(self, submission: Submission, key: str) -> JobRecord | None:
        source = self._repository.finished_like(key, Status.SUCCEEDED)
        earlier = self._repository.get(submission.tenant, source) if source else None
        if earlier is None:
            return None
        values = {
            "id": str(uuid.uuid4()),
            "metadata": submission.metadata,
            "priority": submission.priority,
            "timeout_s": submission.timeout_s,
            "webhook_url": submission.webhook_url,
            "cached": True,
            "attempt": 0,
            "losses": 0,
        }
        values |= {name: earlier[name] for name in COPIED} | computed(earlier)
        row = self._repository.insert_copy(values, earlier["id"], submission.idempotency_key)
        return JobRecord.of(row) if row is not None else None

    def _is_quick(self, asked: Submission) -> bool:
        size = self._repository.model_size(asked.tenant, asked.model)
        return size is not None and is_quick_analysis(asked.request, asked.timeout_s, size, self._settings.quick_s)

    def _terms(self, queue_timeout_s: float | None = None) -> QueueTerms:
        settings = self._settings
        return QueueTerms(
            settings.max_queued, settings.max_queued_per_owner, queue_timeout_s or settings.queue_timeout_s
        )

    def _unknown(self, submission: Submission) -> Problem:
        for model in (submission.model, other_model(submission.request)):
            if model is not None and self._repository.model_size(submission.tenant, model) is None:
                return _unknown_model(model)
        return UnknownDataset(f"No data set {submission.dataset} has been uploaded.")

    def _queued(self, row: RowMapping) -> JobRecord:
        job = JobRecord.of(row)
        self._dispatcher.notify(job.id, job.priority)
        return job


def _unknown_model(sha256: str) -> UnknownModel:
    return UnknownModel(f"No model {sha256} has been uploaded.")
