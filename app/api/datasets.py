"""The data sets of the contract."""

from __future__ import annotations

from anyio import to_thread
from fastapi import APIRouter, Request, Response

from app.api import arrays
from app.api.documents import answers, file_body
from app.api.house import InHouse
from app.api.models import Digest
from app.api.pages import InPages
from app.api.uploads import received
from app.api.views import DatasetPage, DatasetView
from app.errors import (
    DatasetInUse,
    InvalidDataset,
    InvalidRequest,
    MalformedRequest,
    NotADataset,
    StorageFull,
    TooLarge,
    UnknownDataset,
)

router = APIRouter(prefix="/v1/datasets", tags=["Data sets"])

UPLOAD_PROBLEMS = (MalformedRequest, TooLarge, NotADataset, InvalidDataset, StorageFull)


@router.post("", openapi_extra=file_body(), responses=answers(*UPLOAD_PROBLEMS, also={201: {"model": DatasetView}}))
async def upload_dataset(request: Request, response: Response, house: InHouse) -> DatasetView:
    """Upload an npy file of inputs, or an npz file with arrays `inputs` and, optionally, `labels`.

    201 when it is new, 200 when the same bytes are known. Pickled objects are never loaded.
    """
    async with received(request, house.dataset_blobs, missing=NotADataset) as upload:
        found = await to_thread.run_sync(arrays.described, upload.staged.path, house.settings.max_dataset_bytes)
        dataset, is_new = await to_thread.run_sync(house.datasets.admit, upload.staged, upload.name, *found)
    response.status_code = 201 if is_new else 200
    response.headers["Location"] = f"/v1/datasets/{dataset.id}"
    return DatasetView.of(dataset)


@router.get("", responses=answers(InvalidRequest))
def list_datasets(house: InHouse, page: InPages) -> DatasetPage:
    """Data sets, newest first."""
    records = house.datasets.page(page.limit, page.after)
    shown, token = page.cut(records, lambda record: (record.created_at, record.id))
    return DatasetPage(datasets=[DatasetView.of(record) for record in shown], next_page_token=token)


@router.get("/{dataset_id}", responses=answers(UnknownDataset))
def get_dataset(dataset_id: Digest, house: InHouse) -> DatasetView:
    """One data set."""
    return DatasetView.of(house.datasets.get(dataset_id))


@router.head("/{dataset_id}", responses=answers(UnknownDataset))
def has_dataset(dataset_id: Digest, house: InHouse) -> Response:
    """Whether the data set is known."""
    house.datasets.get(dataset_id)
    return Response()


@router.delete("/{dataset_id}", status_code=204, responses=answers(UnknownDataset, DatasetInUse))
def delete_dataset(dataset_id: Digest, house: InHouse) -> None:
    """Forget a data set and its file. Jobs that are over keep their results."""
    house.datasets.delete(dataset_id)
