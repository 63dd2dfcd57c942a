"""A typed client of a running service, in one file: upload, analyze, follow, cancel.

with Client("http://localhost:8000") as lipserve:
    job = lipserve.analyze(Path("model.onnx"), {"gate": {"max_upper": 100}})
    print(job.result.upper.value, job.verdict)
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime
from io import BufferedReader
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .contract.comparison import AnyResult
from .contract.domain import Document
from .contract.job import QueueView, Urls
from .contract.problem import ProblemView
from .contract.progress import Progress
from .contract.result import Verdict
from .contract.series import SeriesPage, SeriesView
from .contract.uploads import ModelView
from .lipschitz.bundle import Member, identity
from .lipschitz.external_data import files_beside

WAIT_S = 10.0
"""How long one request waits for a job's end."""
PATIENCE_S = 60.0
"""How long the service may take to answer beyond that."""
FOLLOW_S = 0.5
"""How often progress is asked for by those who want to see it."""

OnProgress = Callable[[Progress], None]


class Refused(Exception):
    """The service answered with a problem (RFC 9457)."""

    def __init__(self, status: int, problem: ProblemView) -> None:
        super().__init__(f"{problem.title or status}: {problem.detail}")
        self.status = status
        self.problem = problem


class Unexpected(Exception):
    """The service answered with something else than was asked for: no job, or another one."""


class Job(BaseModel):
    """A job of the contract, as far as a client looks into it; what else the service told is kept."""

    model_config = ConfigDict(extra="allow", frozen=True)

    id: str
    model: str
    status: str
    """queued, running, canceling, succeeded, failed, canceled or timed_out."""
    finished_at: datetime | None
    error: ProblemView | None
    """Why the job failed."""
    progress: Progress | None
    queue: QueueView | None = None
    result: AnyResult | None = Field(default=None, union_mode="left_to_right")
    """The bracket and what belongs to it, None unless the job succeeded."""
    urls: Urls | None = None

    @classmethod
    def of(cls, answer: Document) -> Job:
        """The job that the service answered with; Unexpected where the answer is none."""
        try:
            return cls.model_validate(answer)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise Unexpected(f"The answer is no job: {place}: {first['msg']}.") from error

    @property
    def place(self) -> str:
        """The status, with how many jobs are ahead while it waits: `queued, 3 ahead`."""
        return f"{self.status}, {self.queue.ahead} ahead" if self.queue else self.status

    @property
    def is_over(self) -> bool:
        """Whether the status is terminal."""
        return self.finished_at is not None

    @property
    def verdict(self) -> Verdict | None:
        """pass, fail or inconclusive where a gate was given."""
        return None if self.result is None else self.result.verdict


class Client:
    """One service. Methods raise Refused for its problems, Unexpected for answers to something else, and
    httpx.TransportError where it cannot be reached.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}  # an unset secret of a build is the empty text
        self._http = httpx.Client(base_url=url, headers=headers, timeout=WAIT_S + PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._http.close()

    def upload(self, model: Path, name: str | None = None, version: str | None = None) -> str:
        """The id of an uploaded model, its SHA-256; the same bytes are stored once. `version` of `name`, for `series`.

        Files beside an ONNX model that hold its weights go with it; OSError where one is not there. The id of several
        files is the SHA-256 of their sorted lines `<sha256>  <name>`, and that of an archive of a folder what it holds.
        """
        with ExitStack() as stack:
            paths = {model.name: model} | {name: model.parent / name for name in files_beside(model)}
            files = {name: stack.enter_context(path.open("rb")) for name, path in paths.items()}
            digest = _identity(files)
            parts = [("file", (name, file)) for name, file in files.items()]
            named = {key: value for key, value in (("name", name), ("version", version)) if value is not None}
            told = self._call("POST", "/v1/models", files=parts, params=named).get("id")
        if told != digest and not _may_be_unpacked(model):
            raise Unexpected(f"The service took another file: {told}, sent was {digest}.")
        return str(told)

    def upload_dataset(self, points: Path) -> str:
        """The id of an uploaded data set, npy or npz."""
        with points.open("rb") as file:
            return str(self._call("POST", "/v1/datasets", files={"file": (points.name, file)})["id"])

    def submit(self, model: str, request: Mapping[str, Any], idempotency_key: str | None = None) -> Job:
        """Queue an analysis of an uploaded model; the same key never makes a second job."""
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        job = Job.of(self._call("POST", "/v1/jobs", json={**request, "model": model}, headers=headers))
        if job.model != model:
            raise Unexpected(f"The service works on the model {job.model}, asked was {model}.")
        return job

    def submit_comparison(self, a: str, b: str, request: Mapping[str, Any]) -> Job:
        """Queue the comparison of two uploaded models."""
        job = Job.of(self._call("POST", "/v1/comparisons", json={**request, "a": a, "b": b}))
        if job.model != a:
            raise Unexpected(f"The service works on the model {job.model}, asked was {a}.")
        return job

    def job(self, job_id: str, wait_s: float = 0) -> Job:
        """The job as it is, at once or when it is over, at the latest after `wait_s` seconds."""
        job = Job.of(self._call("GET", f"/v1/jobs/{job_id}", params={"wait": wait_s}))
        if job.id != job_id:
            raise Unexpected(f"The service answered about the job {job.id}, asked was {job_id}.")
        return job

    def cancel(self, job_id: str) -> Job:
        """Ask for the job's end."""
        return Job.of(self._call("POST", f"/v1/jobs/{job_id}/cancel"))

    def series(self, name: str) -> SeriesView:
        """Every version that was uploaded under the name, with its bracket, norms and radii."""
        return SeriesView.model_validate(self._call("GET", f"/v1/series/{quote(name)}"))

    def all_series(self, **page: str | int) -> SeriesPage:
        """Series in short, those with the newest versions first; `page_size` and `page_token` as in the API."""
        return SeriesPage.model_validate(self._call("GET", "/v1/series", params=page))

    def model(self, digest: str) -> ModelView:
        """What the service knows of an uploaded model."""
        return ModelView.model_validate(self._call("GET", f"/v1/models/{digest}"))

    def report(self, job_id: str) -> str:
        """The job as a page for people, HTML that stands alone."""
        answer = self._http.get(f"/v1/jobs/{job_id}/report", headers={"Accept": "text/html"})
        if answer.is_error:
            raise Refused(answer.status_code, ProblemView(detail=f"The job {job_id} has no report."))
        return answer.text

    def certificate(self, job_id: str) -> Document:
        """What proves the job's upper bound; Refused where there is none."""
        return self._call("GET", f"/v1/jobs/{job_id}/certificate")

    def analyze(
        self,
        model: Path,
        request: Mapping[str, Any],
        on_progress: OnProgress | None = None,
        *,
        name: str | None = None,
        version: str | None = None,
    ) -> Job:
        """Upload, submit, and wait for the end; an interrupt (KeyboardInterrupt) cancels the job."""
        return self.ended(self.submit(self.upload(model, name, version), request), on_progress)

    def compare(self, a: Path, b: Path, request: Mapping[str, Any], on_progress: OnProgress | None = None) -> Job:
        """Upload both models, submit, and wait for the end, as `analyze`."""
        return self.ended(self.submit_comparison(self.upload(a), self.upload(b), request), on_progress)

    def ended(self, job: Job, on_progress: OnProgress | None = None) -> Job:
        """The submitted job when it is over; an interrupt (KeyboardInterrupt) cancels it."""
        try:
            return self.finished(job.id, on_progress, job.model)
        except KeyboardInterrupt:
            self.cancel(job.id)
            raise

    def finished(self, job_id: str, on_progress: OnProgress | None = None, model: str | None = None) -> Job:
        """The job when it is over, which has to be about `model`; `on_progress` is called with its `progress`."""
        job = self.job(job_id)
        while not job.is_over:
            if on_progress is None:
                job = self.job(job_id, WAIT_S)
                continue
            on_progress(job.progress or Progress(phase=job.place))
            time.sleep(FOLLOW_S)
            job = self.job(job_id)
        if model not in (None, job.model):
            raise Unexpected(f"The service answered about the model {job.model}, asked was {model}.")
        return job

    def _call(self, method: str, path: str, **options: Any) -> Document:
        answer = self._http.request(method, path, **options)
        try:
            body: Document = answer.json()
        except json.JSONDecodeError:
            body = {"title": "The answer is not JSON", "detail": answer.text[:200]}
        if answer.is_error or not isinstance(body, dict):
            raise Refused(answer.status_code, _problem(body))
        return body


def _identity(files: Mapping[str, BufferedReader]) -> str:
    """What names a model of these files, each read and put back to its start."""
    members = []
    for name, file in files.items():
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        members.append(Member(name, digest, file.tell()))
        file.seek(0)
    return identity(members) if len(members) > 1 else members[0].sha256


def _problem(body: object) -> ProblemView:
    try:
        return ProblemView.model_validate(body)
    except ValidationError:
        return ProblemView(detail=str(body)[:200])


def _may_be_unpacked(path: Path) -> bool:
    """Whether the file is an archive, whose id is that of the model in it."""
    with path.open("rb") as file:
        return file.read(262).startswith((b"PK\x03\x04", b"\x1f\x8b")) or path.suffix == ".tar"
