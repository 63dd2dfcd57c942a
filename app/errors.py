"""Everything that can go wrong, as the caller sees it: one tree, each leaf an RFC 9457 problem type.

`slug` is stable and ends the type's URI; `status` is the HTTP status, also inside a job's `error`, where it
is the status that the same refusal would have as an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar

from app.advice import ADVICE
from app.contract.plain import Json
from app.lipschitz.errors import LipschitzError
from app.printable import printable

TYPE_PREFIX = "urn:lipserve:problem:"


class Problem(Exception):
    """Root of the tree. `detail` is one sentence on this occurrence; `errors` point at fields at fault."""

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "The service failed"

    def __init__(
        self,
        detail: str = "",
        *,
        errors: list[dict[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.detail = printable(detail, keep="\n") or self.title
        super().__init__(self.detail)
        self.errors = errors or []
        self.headers = dict(headers or {})

    def document(self, instance: str | None = None) -> Json:
        """The problem as RFC 9457 JSON; `instance` is the path of the request or job that met it."""
        members = {
            "type": TYPE_PREFIX + self.slug,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
        }
        step = {"advice": ADVICE[self.slug]} if self.slug in ADVICE else {}
        return members | step | ({"errors": self.errors} if self.errors else {})


# Requests


class MalformedRequest(Problem):
    """The request cannot be read at all: broken multipart, broken HTTP."""

    status, slug, title = 400, "malformed-request", "The request cannot be read"


class MalformedJson(Problem):
    """The body should be JSON and is not."""

    status, slug, title = 400, "malformed-json", "The body is not JSON"


class DigestMismatch(Problem):
    """The uploaded bytes do not hash to the digest in the path."""

    status, slug, title = 400, "digest-mismatch", "The bytes do not have the promised SHA-256"


class Unauthorized(Problem):
    """The request needs an API key, and holds none that is known and not revoked."""

    status, slug, title = 401, "unauthorized", "An API key is needed"


class BadSignature(Problem):
    """A hook's delivery lacks its secret or signature, or holds a wrong one."""

    status, slug, title = 401, "bad-signature", "The signature is missing or wrong"


class StaleDelivery(Problem):
    """A hook's delivery was signed too long ago."""

    status, slug, title = 401, "stale-delivery", "The delivery is too old"


class Forbidden(Problem):
    """The API key lacks the scope that the request needs; the detail names it."""

    status, slug, title = 403, "forbidden", "The API key does not allow this"


class CrossSite(Problem):
    """A web page of another origin had the browser send the request."""

    status, slug, title = 403, "cross-site", "Pages of other origins may not do this"


class NotFound(Problem):
    """No such path."""

    status, slug, title = 404, "not-found", "No such resource"


class UnknownModel(Problem):
    """No model of that digest has been uploaded."""

    status, slug, title = 404, "unknown-model", "No such model"


class UnknownDataset(Problem):
    """No data set of that digest has been uploaded."""

    status, slug, title = 404, "unknown-dataset", "No such data set"


class UnknownDelivery(Problem):
    """No webhook of that id."""

    status, slug, title = 404, "unknown-delivery", "No such delivery"


class HookDisabled(Problem):
    """The operator has set no secret for this registry's hook."""

    status, slug, title = 404, "hook-disabled", "This hook is not configured"


class UnknownJob(Problem):
    """No job has that id."""

    status, slug, title = 404, "unknown-job", "No such job"


class NoWitness(Problem):
    """The job holds no witness (yet)."""

    status, slug, title = 404, "no-witness", "The job has no witness"


class NoCertificate(Problem):
    """The job holds no certificate (yet), or none of its methods makes one."""

    status, slug, title = 404, "no-certificate", "The job has no certificate"


class MethodNotAllowed(Problem):
    """The path does not answer to this HTTP method."""

    status, slug, title = 405, "method-not-allowed", "The method is not allowed here"


class ModelInUse(Problem):
    """The model cannot be deleted while jobs on it wait or run."""

    status, slug, title = 409, "model-in-use", "Jobs on this model are not over"


class DatasetInUse(Problem):
    """The data set cannot be deleted while jobs that use it wait or run."""

    status, slug, title = 409, "dataset-in-use", "Jobs that use this data set are not over"


class IdempotencyConflict(Problem):
    """A request with the same Idempotency-Key is being answered at this moment."""

    status, slug, title = 409, "idempotency-conflict", "A request with this Idempotency-Key is in flight"


class IdempotencyMismatch(Problem):
    """The Idempotency-Key was used for another request: another path, query or body."""

    status, slug, title = 422, "idempotency-mismatch", "The Idempotency-Key belongs to another request"


class JobActive(Problem):
    """The job cannot be deleted before it is over."""

    status, slug, title = 409, "job-active", "The job is not over"


class JobExpired(Problem):
    """The job was over so long ago that its result is gone."""

    status, slug, title = 410, "job-expired", "The job's result is no longer kept"


class TooLarge(Problem):
    """The body or the file exceeds the cap."""

    status, slug, title = 413, "too-large", "The upload is too large"


class NotAModel(Problem):
    """The bytes are neither ONNX, nor TorchScript, nor a torch.export archive; the detail says how to export one."""

    status, slug, title = 415, "not-a-model", "The file is not a model of a supported format"


class NotADataset(Problem):
    """The bytes are neither an npy nor an npz file."""

    status, slug, title = 415, "not-a-dataset", "The file is not a data set of a supported format"


class ForeignHost(Problem):
    """The request is for a host name that is not the service's own, and no keys are configured."""

    status, slug, title = 421, "foreign-host", "The service does not answer under this name"


class RequestTimeout(Problem):
    """The client sent its request too slowly."""

    status, slug, title = 408, "request-timeout", "The request came too slowly"


class HeaderTooLarge(Problem):
    """The request's line and headers exceed the cap."""

    status, slug, title = 431, "header-too-large", "The request's headers are too large"


class RequestRefused(Problem):
    """Any other status that the HTTP framework answers with."""

    status, slug, title = 400, "request-refused", "The request was refused"


# Refusals of the numerical library, by its slugs


class InvalidRequest(Problem):
    """A field is unknown, of the wrong type, out of range, or does not fit the model."""

    status, slug, title = 422, "invalid-request", "The request does not fit the contract"


class InvalidModel(Problem):
    """The file claims a supported format and cannot be used; the detail says why."""

    status, slug, title = 422, "invalid-model", "The model cannot be used"


class MissingData(Problem):
    """The model's weights lie in files that were not sent with it; the detail names them."""

    status, slug, title = 422, "missing-data", "Files that hold the model's weights are missing"


class SurplusData(Problem):
    """Files were sent with a model that does not name them; the detail does."""

    status, slug, title = 422, "surplus-data", "Files were sent that the model does not name"


class InvalidDataset(Problem):
    """The file is npy or npz and cannot be used as a data set; the detail says why."""

    status, slug, title = 422, "invalid-dataset", "The data set cannot be used"


class InvalidInputs(Problem):
    """Input shapes are missing where the file leaves them open, or do not fit the model."""

    status, slug, title = 422, "invalid-inputs", "The inputs do not fit the model"


class UnsupportedOperator(Problem):
    """An operator of the graph has no rule; the detail names it and its place."""

    status, slug, title = 422, "unsupported-operator", "The graph holds an operator without a rule"


class DataDependentControlFlow(Problem):
    """The model branches or loops on tensor values."""

    status, slug, title = 422, "data-dependent-control-flow", "The graph depends on the data"


class DiscontinuousOperator(Problem):
    """An operator of the graph jumps, so no finite constant exists; the detail names it."""

    status, slug, title = 422, "discontinuous-operator", "The graph holds a discontinuous operator"


class StatefulModel(Problem):
    """The model keeps state between two calls."""

    status, slug, title = 422, "stateful-model", "The model is not a function of its inputs"


class NotGloballyLipschitz(Problem):
    """No finite constant was found on the domain asked for; a smaller one may have one."""

    status, slug, title = 422, "not-globally-lipschitz", "No finite constant was found on this domain"


class InvalidArtifact(Problem):
    """What a model's program handed over as its captured graph is none."""

    status, slug, title = 422, "invalid-artifact", "The captured graph cannot be used"


class ConversionMismatch(Problem):
    """The captured graph does not reproduce the model, so nothing is claimed."""

    status, slug, title = 422, "conversion-mismatch", "The captured graph does not reproduce the model"


class IncomparableModels(Problem):
    """Two models whose inputs or outputs differ in number or shape; the detail tells both."""

    status, slug, title = 422, "incomparable-models", "The models cannot be compared"


class SourceRefused(Problem):
    """The place that a model should come from may not be connected to, or answers in a way that is not followed."""

    status, slug, title = 422, "source-refused", "The source may not be fetched"


class SourceUnreachable(Problem):
    """The place that a model should come from does not give it."""

    status, slug, title = 502, "source-unreachable", "The source does not answer as it should"


class MethodSkipped(Problem):
    """No requested method could serve the model; the detail gives the reasons."""

    status, slug, title = 422, "method-skipped", "No requested method can serve this model"


class BracketViolation(Problem):
    """A lower bound exceeded an upper bound: a defect, so no result is given."""

    status, slug, title = 500, "bracket-violation", "The bounds contradict each other"


class AnalysisFailed(Problem):
    """The analysis stopped on an unexpected error."""

    status, slug, title = 500, "analysis-failed", "The analysis failed"


class TorchscriptRefused(Problem):
    """The file is a program, and the workers are not confined as the operator wants it for programs."""

    status, slug, title = 422, "torchscript-refused", "Programs are not run here"


# What becomes of jobs


class OutOfMemory(Problem):
    """The analysis needed more memory than there is."""

    status, slug, title = 500, "out-of-memory", "The analysis ran out of memory"


class WorkerCrashed(Problem):
    """The process that ran the job died; the detail names the signal or the exit status."""

    status, slug, title = 500, "worker-crashed", "The worker process died"


class WorkerProtocol(Problem):
    """The process that ran the job sent something that is not a message."""

    status, slug, title = 500, "worker-protocol", "The worker process broke its protocol"


class WorkerLost(Problem):
    """The job's supervisor was lost more often than a job is retried."""

    status, slug, title = 500, "worker-lost", "The job's worker was lost too often"


class QueueDeadline(Problem):
    """The job waited in the queue for longer than it was meant to."""

    status, slug, title = 504, "queue-deadline", "The job waited too long"


class TimeLimit(Problem):
    """The job reached its time limit and was stopped."""

    status, slug, title = 504, "time-limit", "The job reached its time limit"


# The service's own state


class QueueFull(Problem):
    """As many analyses wait as the service holds."""

    status, slug, title = 429, "queue-full", "The queue is full"


class QuotaExceeded(Problem):
    """As many analyses of the caller's wait as one owner may have."""

    status, slug, title = 429, "quota-exceeded", "Too many jobs of this owner wait"


class NotReady(Problem):
    """A part that the service needs does not work (yet)."""

    status, slug, title = 503, "not-ready", "The service is not ready"


class Draining(Problem):
    """The service is stopping and takes no new work."""

    status, slug, title = 503, "draining", "The service is stopping"


class Busy(Problem):
    """No worker could take the file in time."""

    status, slug, title = 503, "busy", "No worker is free"


class TooManyConnections(Problem):
    """As many connections are open as the service, or one address, may have, and all are in use."""

    status, slug, title = 503, "too-many-connections", "Too many connections are open"


class DatabaseUnavailable(Problem):
    """The database does not answer; nothing was changed, or what was is found again by the same request."""

    status, slug, title = 503, "database-unavailable", "The database does not answer"


class StorageUnavailable(Problem):
    """The place that keeps the uploads does not answer."""

    status, slug, title = 503, "storage-unavailable", "The file store does not answer"


class StorageFull(Problem):
    """The disk has no room for the upload."""

    status, slug, title = 507, "storage-full", "There is no room for the upload"


def problem_types() -> Iterator[type[Problem]]:
    """Every problem type, the root first."""
    yield Problem
    yield from Problem.__subclasses__()


BY_SLUG: dict[str, type[Problem]] = {kind.slug: kind for kind in problem_types()}


def from_slug(slug: str, detail: str) -> Problem:
    """The problem that a child process reported; an unknown slug is an analysis failure."""
    return BY_SLUG.get(slug, AnalysisFailed)(detail)


@contextmanager
def as_problems() -> Iterator[None]:
    """Turns refusals of the library into the problems of the same slugs."""
    try:
        yield
    except LipschitzError as refusal:
        raise from_slug(refusal.slug, refusal.detail) from refusal
