"""Data sets: a staged file whose header was read becomes a data set, or leaves nothing behind."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import RowMapping

from ..contract.plain import Json
from ..errors import DatasetInUse, UnknownDataset
from ..store.blobs import Blobs, Staged
from ..store.uploads import UploadRepository
from .states import ACTIVE


@dataclass(frozen=True)
class ArrayInfo:
    """One stored array: Open Inference datatype and shape."""

    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class DatasetRecord:
    """A data set that jobs may name; `inputs` and `labels` are ArrayInfo as JSON."""

    id: str
    name: str
    size_bytes: int
    created_at: float
    inputs: Json
    labels: Json | None
    tenant: str

    @classmethod
    def of(cls, row: RowMapping) -> DatasetRecord:
        """The record of a row of the data sets table."""
        return cls(**{str(name): value for name, value in row.items()})


class DatasetService:
    """Keeps data sets, and decides when they go."""

    def __init__(self, repository: UploadRepository, blobs: Blobs) -> None:
        self._repository = repository
        self._blobs = blobs

    def get(self, tenant: str, sha256: str) -> DatasetRecord:
        """The tenant's data set; UnknownDataset where there is none."""
        row = self._repository.get(tenant, sha256)
        if row is None:
            raise UnknownDataset(f"No data set {sha256} has been uploaded.")
        return DatasetRecord.of(row)

    def page(self, tenant: str, limit: int, after: tuple[float, str] | None) -> list[DatasetRecord]:
        """The tenant's data sets, newest first."""
        return [DatasetRecord.of(row) for row in self._repository.page(tenant, limit, after)]

    def admit(
        self, tenant: str, staged: Staged, name: str, inputs: ArrayInfo, labels: ArrayInfo | None
    ) -> tuple[DatasetRecord, bool]:
        """Keep the file, and whether it is new."""
        staged.sync()
        values = {
            "tenant": tenant,
            "id": staged.sha256,
            "name": name,
            "size_bytes": staged.size,
            "inputs": asdict(inputs),
            "labels": None if labels is None else asdict(labels),
        }
        is_new = self._repository.add(values, lambda: self._blobs.keep(staged))
        return self.get(tenant, staged.sha256), is_new

    def delete(self, tenant: str, sha256: str) -> None:
        """Forget the data set and its file; DatasetInUse while jobs that use it are not over."""
        self.get(tenant, sha256)
        if not self._repository.remove(tenant, sha256, ACTIVE, lambda: self._blobs.remove(sha256)):
            raise DatasetInUse("Jobs that use this data set wait or run; cancel them first.")
