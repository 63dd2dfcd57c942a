"""Works on what registries told us: fetch the model, have it analysed, write the bounds back; survives crashes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import RowMapping

from ..contract.plain import Json
from ..contract.result import ResultView
from ..contract.series import ModelVersion
from ..errors import Busy, Problem, QueueFull, QuotaExceeded, SourceUnreachable, StorageFull, StorageUnavailable
from ..jobs.record import JobRecord
from ..store.blobs import Staged
from ..store.hooks import DONE, FAILED, RECEIVED, REPORTING, WAITING, HookKey, HookRepository
from .card import Shape
from .poller import Poller
from .sources import Location, Source, refusals_as_problems
from .webhooks import pause

logger = logging.getLogger(__name__)

THREADS = 2
LEASE_S = 30.0
RENEW_S = 10.0
FORGET_S = 600.0
TRANSIENT = (SourceUnreachable, Busy, QueueFull, QuotaExceeded, StorageFull, StorageUnavailable)
PREFIX = "lipschitz."


Fetch = Callable[[Location, Source], tuple[Staged, str]]
"""A model as one staged file, which the caller closes, and its name."""


class Registry(Protocol):
    """A place that tells us of models, and may want to hear what we found."""

    def version(self, event: dict[str, str]) -> ModelVersion:
        """The series and the version that the event is about."""

    def source(self, event: dict[str, str]) -> Source:
        """The model that the event is about; Refused or Unreachable."""

    def report(self, event: dict[str, str], tags: dict[str, str]) -> None:
        """Write what we found; Refused or Unreachable."""


class Intake(Protocol):
    """The service's own way in: what an upload and a `POST /v1/jobs` do."""

    def known(self, tenant: str, sha256: str) -> bool:
        """Whether the tenant has this model."""

    def admit(self, tenant: str, staged: Staged, name: str) -> None:
        """Have a child read the file, and keep it; raises the refusal."""

    def name(self, tenant: str, named: ModelVersion, sha256: str) -> None:
        """Make the model that version of a series, if there is none yet."""

    def submit(self, tenant: str, sha256: str, shapes: tuple[Shape, ...], key: str, metadata: Json) -> JobRecord:
        """Queue the analysis; the same key gives the same job."""

    def ended(self, tenant: str, job_id: str) -> tuple[JobRecord, ResultView | None]:
        """A job and its result; UnknownJob or JobExpired where it is gone."""


@dataclass(frozen=True)
class Terms:
    """How long to try: the waits after each failed try, and how often to look, in seconds."""

    pauses_s: tuple[float, ...]
    poll_s: float
    keep_s: float


class HookWorker:
    """Brings every delivery one state further at a time."""

    def __init__(
        self,
        repository: HookRepository,
        registries: Mapping[str, Registry],
        intake: Intake,
        fetch: Fetch,
        terms: Terms,
    ) -> None:
        self._repository = repository
        self._registries = registries
        self._intake = intake
        self._fetch_model = fetch
        self._terms = terms

    def poller(self) -> Poller[HookKey]:
        """The threads that work."""
        poller = Poller("hooks", THREADS, self._terms.poll_s, self._repository.due, self.work)
        poller.also(RENEW_S, lambda: self._repository.renew(poller.under_way, LEASE_S))
        poller.also(FORGET_S, lambda: self._repository.forget(self._terms.keep_s))
        return poller

    def work(self, key: HookKey) -> None:
        """Take the delivery's next step, unless another process does."""
        row = self._repository.claim(key, LEASE_S)
        if row is None:
            return
        step: Callable[[HookKey, RowMapping], None] = {
            RECEIVED: self._fetch,
            WAITING: self._conclude,
            REPORTING: self._report,
        }[row["state"]]
        try:
            with refusals_as_problems():
                step(key, row)
        except Problem as problem:
            self._failed(key, row, problem)
        except Exception:
            self._failed(key, row, Problem("An unexpected error; the service's log has more."))
            raise

    def _fetch(self, key: HookKey, row: RowMapping) -> None:
        source = self._registry(key).source(row["event"])
        location = source.find()
        sha256 = location.sha256
        if sha256 is None or not self._intake.known(row["tenant"], sha256):
            staged, name = self._fetch_model(location, source)
            try:
                sha256 = staged.sha256
                self._intake.admit(row["tenant"], staged, name)
            finally:
                staged.close()
        self._intake.name(row["tenant"], self._registry(key).version(row["event"]), sha256)
        metadata = {key.registry: row["event"] | {"delivery": key.delivery}}
        job = self._intake.submit(
            row["tenant"], sha256, location.shapes, f"hook {key.registry} {key.delivery}", metadata
        )
        self._repository.advance(key, WAITING, job=job.id, error=None)
        logger.info("hook %s/%s: job %s", key.registry, key.delivery, job.id)

    def _conclude(self, key: HookKey, row: RowMapping) -> None:
        job, result = self._intake.ended(row["tenant"], row["job"])
        self._repository.advance(key, REPORTING, tags=tags_of(job, result))

    def _report(self, key: HookKey, row: RowMapping) -> None:
        self._registry(key).report(row["event"], row["tags"])
        self._repository.advance(key, DONE if row["job"] is not None else FAILED, error=row["error"])
        logger.info("hook %s/%s: reported %s", key.registry, key.delivery, row["tags"])

    def _failed(self, key: HookKey, row: RowMapping, problem: Problem) -> None:
        """Try again later, or go on to tell the registry why there is no bound, or end."""
        may_pass = isinstance(problem, TRANSIENT) or type(problem) is Problem
        if may_pass and row["tries"] <= len(self._terms.pauses_s):
            self._repository.postpone(key, pause(self._terms.pauses_s, row["tries"]), problem.detail)
        elif row["state"] == REPORTING:
            self._repository.advance(key, FAILED, error=problem.detail)
        else:
            tags = {f"{PREFIX}verdict": "error", f"{PREFIX}error": problem.detail}
            self._repository.advance(key, REPORTING, tags=tags, error=problem.detail)
        logger.warning("hook %s/%s (%s): %s", key.registry, key.delivery, row["state"], problem.detail)

    def _registry(self, key: HookKey) -> Registry:
        registry = self._registries.get(key.registry)
        if registry is None:
            raise SourceUnreachable(f"The registry {key.registry} is not configured.")
        return registry


def tags_of(job: JobRecord, result: ResultView | None) -> dict[str, str]:
    """What a registry is told of a job that is over; a number that does not exist is `none`."""
    tags = {"job": job.id, "status": str(job.status)}
    if result is None:
        error = job.error or {}
        return _prefixed(tags | {"verdict": "error", "error": str(error.get("detail", job.status))})
    for side, bound in (("upper", result.upper), ("lower", result.lower)):
        tags[side] = "none" if bound is None or bound.value is None else repr(bound.value)
        tags |= {} if bound is None else {f"{side}.method": bound.method}
    if result.offset is not None:
        tags["offset"] = "none" if result.offset.value is None else repr(result.offset.value)
    return _prefixed(tags | {"verdict": result.verdict or "none"})


def _prefixed(tags: dict[str, str]) -> dict[str, str]:
    return {PREFIX + name: value for name, value in tags.items()}
