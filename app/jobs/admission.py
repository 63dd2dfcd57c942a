"""A model's way in: a staged file becomes a model once a child has read it, or leaves nothing behind; and its graph."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import RowMapping

from ..contract.plain import Json
from ..errors import Busy, ModelInUse, Problem, UnknownModel
from ..lipschitz.formats import detect, is_program
from ..refusals import InvalidModel, as_problems, from_slug
from ..store.blobs import Blobs, Staged
from ..store.uploads import UploadRepository
from .artifacts import Artifacts
from .lanes import is_quick_reading, reading_limit
from .record import JobRecord
from .service import JobService
from .states import ACTIVE, Status


@dataclass(frozen=True)
class ModelRecord:
    """A model that can be analyzed; `inspection` is what a child told about it."""

    id: str
    name: str
    format: str
    size_bytes: int
    created_at: float
    inspection: Json
    tenant: str

    @classmethod
    def of(cls, row: RowMapping) -> ModelRecord:
        """The record of a row of the models table."""
        return cls(**{str(name): value for name, value in row.items()})


def check_format(staged: Staged, max_unpacked: int) -> None:
    """Raise NotAModel, InvalidModel or TooLarge for a file whose content says that a child need not read it."""
    with as_problems(), staged.path.open("rb") as file:
        detect(file, max_unpacked)


class ModelService:
    """Decides which files are models, and when they go."""

    def __init__(
        self,
        repository: UploadRepository,
        blobs: Blobs,
        artifacts: Artifacts,
        jobs: JobService,
        inspect_timeout_s: float,
    ) -> None:
        self._repository = repository
        self._blobs = blobs
        self._artifacts = artifacts
        self._jobs = jobs
        self._inspect_timeout_s = inspect_timeout_s

    @property
    def patience_s(self) -> float:
        """How long a request waits for its child: one job before it in the queue, and its own."""
        return 2 * self._inspect_timeout_s

    def known(self, tenant: str, sha256: str) -> ModelRecord | None:
        """The tenant's model of that digest if it is here, file and all."""
        row = self._repository.get(tenant, sha256)
        return ModelRecord.of(row) if row is not None and self._blobs.exists(sha256) else None

    def get(self, tenant: str, sha256: str) -> ModelRecord:
        """The tenant's model; UnknownModel where there is none."""
        row = self._repository.get(tenant, sha256)
        if row is None:
            raise UnknownModel(f"No model {sha256} has been uploaded.")
        return ModelRecord.of(row)

    def page(self, tenant: str, limit: int, after: tuple[float, str] | None) -> list[ModelRecord]:
        """The tenant's models, newest first."""
        return [ModelRecord.of(row) for row in self._repository.page(tenant, limit, after)]

    def submit_inspection(self, tenant: str, staged: Staged) -> JobRecord:
        """Have a child read the file."""
        staged.sync()
        limit_s = reading_limit(staged.size, self._inspect_timeout_s)
        lane = {"quick": is_quick_reading(staged.size), "program": _is_program(staged)}
        return self._jobs.submit_inspection(tenant, staged.sha256, staged.key, limit_s, **lane)

    def admit(self, tenant: str, staged: Staged, name: str, inspection: JobRecord) -> tuple[ModelRecord, bool]:
        """Keep the file that was inspected, and whether it is new; raises the inspection's refusal."""
        if inspection.status is not Status.SUCCEEDED:
            raise self._refusal(inspection)
        inspected = self._jobs.result(inspection) or {}
        values = {
            "tenant": tenant,
            "id": staged.sha256,
            "name": name,
            "format": inspected.pop("format"),
            "size_bytes": staged.content_bytes,
            "inspection": inspected | _files(staged),
        }
        is_new = self._repository.add(values, lambda: self._blobs.keep(staged))
        return self.get(tenant, staged.sha256), is_new

    def submit_graph(self, tenant: str, sha256: str, request: Json) -> JobRecord:
        """Have a child capture the model's graph, `request` with its `inputs`; refusals as in `JobService`."""
        return self._jobs.submit_graph(tenant, sha256, request, self._inspect_timeout_s)

    def graph(self, capture: JobRecord) -> Json:
        """The graph that was captured; raises the capture's refusal."""
        if capture.status is Status.SUCCEEDED:
            return self._jobs.result(capture) or {}
        if capture.error is not None:
            raise from_slug(capture.error["type"].rpartition(":")[2], capture.error["detail"])
        raise self._given_up(capture)

    def delete(self, tenant: str, sha256: str) -> None:
        """Forget the model, its file and its captured graphs; ModelInUse while jobs on it are not over."""
        self.get(tenant, sha256)
        if not self._repository.remove(tenant, sha256, ACTIVE, lambda: self._blobs.remove(sha256)):
            raise ModelInUse("Jobs on this model wait or run; cancel them first.")
        self._artifacts.drop_model(tenant, sha256)

    def _refusal(self, inspection: JobRecord) -> Problem:
        match inspection.status, inspection.error:
            case Status.FAILED, {"type": str(kind), "detail": str(detail), "status": 422}:
                return from_slug(kind.rpartition(":")[2], detail)
            case Status.FAILED | Status.TIMED_OUT, {"detail": str(detail)}:
                return InvalidModel(f"The file could not be read: {detail}")
        return self._given_up(inspection)

    def _given_up(self, job: JobRecord) -> Busy:
        self._jobs.cancel(job.tenant, job.id)
        return Busy("No worker was free to read the file.", headers={"Retry-After": "10"})


def _is_program(staged: Staged) -> bool:
    with staged.path.open("rb") as file:
        return is_program(file)


def _files(staged: Staged) -> Json:
    """The files of a bundle; what a model of one file consists of is said by the model itself."""
    return {"files": [asdict(file) for file in staged.files]} if staged.files else {}
