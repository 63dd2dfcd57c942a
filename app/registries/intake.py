"""The way in for models that come from hooks: what an upload and a submission do, without a request around them."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import suppress

from ..contract.comparison import stored_result
from ..contract.domain import Document
from ..contract.request import AnalysisFields
from ..contract.result import ResultView
from ..contract.series import ModelVersion
from ..errors import IdempotencyMismatch, VersionTaken
from ..jobs.admission import ModelService, check_format
from ..jobs.record import JobRecord
from ..jobs.series import SeriesService
from ..jobs.service import JobService
from ..jobs.submission import Submission
from ..parsing import parse_fields
from ..settings import Settings
from ..store.blobs import Staged
from ..store.idempotency import Claim, Earlier, IdempotencyRepository
from .card import Shape, inputs_of

LOOK_S = 0.2


class Intake:
    """Blocks its thread; `settings.hook_request` says what is asked of every model."""

    def __init__(
        self,
        settings: Settings,
        models: ModelService,
        jobs: JobService,
        series: SeriesService,
        idempotency: IdempotencyRepository,
    ) -> None:
        self._settings = settings
        self._models = models
        self._jobs = jobs
        self._series = series
        self._idempotency = idempotency
        self._fields = parse_fields(AnalysisFields, settings.hook_request)

    def known(self, tenant: str, sha256: str) -> bool:
        """Whether the tenant has this model."""
        return self._models.known(tenant, sha256) is not None

    def admit(self, tenant: str, staged: Staged, name: str) -> None:
        """Have a child read the file, and keep it; raises the refusal."""
        check_format(staged, self._settings.max_unpacked_bytes)
        if self.known(tenant, staged.sha256):
            return
        inspection = self._models.submit_inspection(tenant, staged)
        deadline = time.monotonic() + self._models.patience_s
        while not inspection.is_over and time.monotonic() < deadline:
            time.sleep(LOOK_S)
            inspection = self._jobs.get(tenant, inspection.id)
        self._models.admit(tenant, staged, name, inspection)

    def name(self, tenant: str, named: ModelVersion, sha256: str) -> None:
        """Make the model that version of a series. One that is another model already stays: a name that two registries
        share is no reason to leave a model unexamined.
        """
        with suppress(VersionTaken):
            self._series.name(tenant, named, sha256)

    def submit(self, tenant: str, sha256: str, shapes: tuple[Shape, ...], key: str, metadata: Document) -> JobRecord:
        """Queue the analysis; the same key gives the same job."""
        claim = Claim(tenant, _short(key), _digest([sha256, key]))
        earlier = self._idempotency.begin(claim)
        if isinstance(earlier, Earlier) and earlier.fingerprint != claim.fingerprint:
            raise IdempotencyMismatch("The registry sent another model under the same delivery id.")
        if isinstance(earlier, Earlier) and earlier.job is not None:
            return self._jobs.get(tenant, earlier.job)
        asked = self._asked(tenant, sha256, shapes)
        asked = asked.model_copy(update={"metadata": asked.metadata | metadata})
        submission = Submission.of(asked, self._settings, model=sha256, tenant=tenant, idempotency_key=claim.key)
        return self._jobs.submit(submission)

    def ended(self, tenant: str, job_id: str) -> tuple[JobRecord, ResultView | None]:
        """A job and its result; UnknownJob or JobExpired where it is gone."""
        job = self._jobs.get(tenant, job_id)
        result = self._jobs.result(job)
        return job, None if result is None else stored_result(result)

    def _asked(self, tenant: str, sha256: str, shapes: tuple[Shape, ...]) -> AnalysisFields:
        if self._fields.inputs is not None or not shapes:
            return self._fields
        declared = self._models.get(tenant, sha256).inspection["inputs"]
        return self._fields.model_copy(update={"inputs": inputs_of(declared, shapes)})


def _short(key: str) -> str:
    """A key that fits its column and cannot be a caller's, whose keys are printable ASCII."""
    return f"\u2020{_digest([key])}"


def _digest(parts: list[str]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
