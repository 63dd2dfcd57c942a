"""Everything that can go wrong, as the caller sees it: one tree, each leaf an RFC 9457 problem type.

The class's name in small letters ends the type's URI, `slug`, and is stable: `NotAModel`, not-a-model. `status` is the
HTTP status, also inside a job's `error`, where it is the status that the same refusal would have as an answer. What the
numerical library refuses is in `refusals`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from .advice import ADVICE
from .contract.plain import Json
from .printable import printable

TYPE_PREFIX = "urn:lipserve:problem:"


class Problem(Exception):
    """Root of the tree. `detail` is one sentence on this occurrence; `errors` point at fields at fault."""

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "The service failed"

    def __init_subclass__(cls, *, status: int, title: str) -> None:
        cls.status, cls.title, cls.slug = status, title, re.sub("(?<!^)(?=[A-Z])", "-", cls.__name__).lower()

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
        members: Json = {"type": TYPE_PREFIX + self.slug, "title": self.title, "status": self.status}
        members |= {"detail": self.detail, "instance": instance}
        step = {"advice": ADVICE[self.slug]} if self.slug in ADVICE else {}
        return members | step | ({"errors": self.errors} if self.errors else {})


# Requests


class MalformedRequest(Problem, status=400, title="The request cannot be read"):
    """The request cannot be read at all: broken multipart, broken HTTP."""


class MalformedJson(Problem, status=400, title="The body is not JSON"):
    """The body should be JSON and is not."""


class DigestMismatch(Problem, status=400, title="The bytes do not have the promised SHA-256"):
    """The uploaded bytes do not hash to the digest in the path."""


class Unauthorized(Problem, status=401, title="An API key is needed"):
    """The request needs an API key, and holds none that is known and not revoked."""


class BadSignature(Problem, status=401, title="The signature is missing or wrong"):
    """A hook's delivery lacks its secret or signature, or holds a wrong one."""


class StaleDelivery(Problem, status=401, title="The delivery is too old"):
    """A hook's delivery was signed too long ago."""


class Forbidden(Problem, status=403, title="The API key does not allow this"):
    """The API key lacks the scope that the request needs; the detail names it."""


class CrossSite(Problem, status=403, title="Pages of other origins may not do this"):
    """A web page of another origin had the browser send the request."""


class NotFound(Problem, status=404, title="No such resource"):
    """No such path."""


class UnknownModel(Problem, status=404, title="No such model"):
    """No model of that digest has been uploaded."""


class UnknownDataset(Problem, status=404, title="No such data set"):
    """No data set of that digest has been uploaded."""


class UnknownSeries(Problem, status=404, title="No such series"):
    """No model was given a version under that name."""


class UnknownDelivery(Problem, status=404, title="No such delivery"):
    """No webhook of that id."""


class HookDisabled(Problem, status=404, title="This hook is not configured"):
    """The operator has set no secret for this registry's hook."""


class UnknownJob(Problem, status=404, title="No such job"):
    """No job has that id."""


class NoWitness(Problem, status=404, title="The job has no witness"):
    """The job holds no witness (yet)."""


class NoRadii(Problem, status=404, title="The job has no file of radii"):
    """The job certified no radii (yet)."""


class NoCertificate(Problem, status=404, title="The job has no certificate"):
    """The job holds no certificate (yet), or none of its methods makes one."""


class MethodNotAllowed(Problem, status=405, title="The method is not allowed here"):
    """The path does not answer to this HTTP method."""


class ModelInUse(Problem, status=409, title="Jobs on this model are not over"):
    """The model cannot be deleted while jobs on it wait or run."""


class DatasetInUse(Problem, status=409, title="Jobs that use this data set are not over"):
    """The data set cannot be deleted while jobs that use it wait or run."""


class VersionTaken(Problem, status=409, title="The version is another model"):
    """The series has a version of that name already, of other bytes."""


class IdempotencyConflict(Problem, status=409, title="A request with this Idempotency-Key is in flight"):
    """A request with the same Idempotency-Key is being answered at this moment."""


class IdempotencyMismatch(Problem, status=422, title="The Idempotency-Key belongs to another request"):
    """The Idempotency-Key was used for another request: another path, query or body."""


class JobActive(Problem, status=409, title="The job is not over"):
    """The job cannot be deleted before it is over."""


class JobExpired(Problem, status=410, title="The job's result is no longer kept"):
    """The job was over so long ago that its result is gone."""


class ForeignHost(Problem, status=421, title="The service does not answer under this name"):
    """The request is for a host name that is not the service's own, and no keys are configured."""


class RequestTimeout(Problem, status=408, title="The request came too slowly"):
    """The client sent its request too slowly."""


class HeaderTooLarge(Problem, status=431, title="The request's headers are too large"):
    """The request's line and headers exceed the cap."""


class RequestRefused(Problem, status=400, title="The request was refused"):
    """Any other status that the HTTP framework answers with."""


class SourceRefused(Problem, status=422, title="The source may not be fetched"):
    """The place that a model should come from may not be connected to, or answers in a way that is not followed."""


class SourceUnreachable(Problem, status=502, title="The source does not answer as it should"):
    """The place that a model should come from does not give it."""


class TorchscriptRefused(Problem, status=422, title="Programs are not run here"):
    """The file is a program, and the workers are not confined as the operator wants it for programs."""


# What becomes of jobs


class OutOfMemory(Problem, status=500, title="The analysis ran out of memory"):
    """The analysis needed more memory than there is."""


class WorkerCrashed(Problem, status=500, title="The worker process died"):
    """The process that ran the job died; the detail names the signal or the exit status."""


class WorkerProtocol(Problem, status=500, title="The worker process broke its protocol"):
    """The process that ran the job sent something that is not a message."""


class WorkerLost(Problem, status=500, title="The job's worker was lost too often"):
    """The job's supervisor was lost more often than a job is retried."""


class QueueDeadline(Problem, status=504, title="The job waited too long"):
    """The job waited in the queue for longer than it was meant to."""


class TimeLimit(Problem, status=504, title="The job reached its time limit"):
    """The job reached its time limit and was stopped."""


# The service's own state


class QueueFull(Problem, status=429, title="The queue is full"):
    """As many analyses wait as the service holds."""


class QuotaExceeded(Problem, status=429, title="Too many jobs of this owner wait"):
    """As many analyses of the caller's wait as one owner may have."""


class NotReady(Problem, status=503, title="The service is not ready"):
    """A part that the service needs does not work (yet)."""


class Draining(Problem, status=503, title="The service is stopping"):
    """The service is stopping and takes no new work."""


class Busy(Problem, status=503, title="No worker is free"):
    """No worker could take the file in time."""


class TooManyConnections(Problem, status=503, title="Too many connections are open"):
    """As many connections are open as the service, or one address, may have, and all are in use."""


class DatabaseUnavailable(Problem, status=503, title="The database does not answer"):
    """The database does not answer; nothing was changed, or what was is found again by the same request."""


class StorageUnavailable(Problem, status=503, title="The file store does not answer"):
    """The place that keeps the uploads does not answer."""


class StorageFull(Problem, status=507, title="There is no room for the upload"):
    """The disk has no room for the upload."""
