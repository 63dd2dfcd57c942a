"""The data sets of the contract."""

from __future__ import annotations

from anyio import to_thread
from fastapi import APIRouter, Depends, Request, Response

from ..contract.uploads import DatasetPage, DatasetView
from ..errors import DatasetInUse, MalformedRequest, StorageFull, StorageUnavailable, UnknownDataset
from ..refusals import InvalidDataset, InvalidRequest, NotADataset, TooLarge
from ..services import Services
from . import arrays
from .callers import Caller, InCaller, allowed
from .dependencies import InServices, TakingWork
from .documents import answers, file_body
from .forms import Form, Upload
from .idempotency import InKey, once
from .models import CREATION_PROBLEMS, Digest
from .paging import InPages
from .uploads import received
from .views import created, dataset_view

router = APIRouter(prefix="/v1/datasets", tags=["Data sets"], dependencies=[Depends(allowed)])

UPLOAD_PROBLEMS = (MalformedRequest, TooLarge, NotADataset, InvalidDataset, StorageUnavailable, StorageFull)


@router.post(
    "",
    response_model=DatasetView,
    dependencies=[TakingWork],
    openapi_extra=file_body(is_model=False),
    responses=answers(*UPLOAD_PROBLEMS, *CREATION_PROBLEMS, also={201: {"model": DatasetView}}),
)
async def upload_dataset(request: Request, services: InServices, caller: InCaller, key: InKey = None) -> Response:
    """Upload an npy file of inputs, or an npz file with arrays `inputs` and, optionally, `labels`.

    201 when it is new, 200 when the same bytes are known. Pickled objects are never loaded.
    """
    async with received(request, services.dataset_blobs, Form(missing=NotADataset)) as upload:
        return await once(
            request,
            services,
            caller,
            key=key,
            received=upload.summary(),
            act=lambda: _admit(services, caller, upload),
        )


@router.get("", responses=answers(InvalidRequest))
def list_datasets(services: InServices, caller: InCaller, page: InPages) -> DatasetPage:
    """Data sets, newest first."""
    records = services.datasets.page(caller.tenant, page.limit, page.after)
    shown, token = page.cut(records, lambda record: (record.created_at, record.id))
    return DatasetPage(datasets=[dataset_view(record) for record in shown], next_page_token=token)


@router.get("/{dataset_id}", responses=answers(UnknownDataset))
def get_dataset(dataset_id: Digest, services: InServices, caller: InCaller) -> DatasetView:
    """One data set."""
    return dataset_view(services.datasets.get(caller.tenant, dataset_id))


@router.head("/{dataset_id}", response_class=Response, responses=answers(UnknownDataset))
def has_dataset(dataset_id: Digest, services: InServices, caller: InCaller) -> Response:
    """Whether the data set is known."""
    services.datasets.get(caller.tenant, dataset_id)
    return Response()


@router.delete("/{dataset_id}", status_code=204, responses=answers(UnknownDataset, DatasetInUse))
def delete_dataset(dataset_id: Digest, services: InServices, caller: InCaller) -> None:
    """Forget a data set and its file. Jobs that are over keep their results."""
    services.datasets.delete(caller.tenant, dataset_id)


async def _admit(services: Services, caller: Caller, upload: Upload) -> Response:
    content = await to_thread.run_sync(arrays.described, upload.staged.path, services.settings.max_dataset_bytes)
    dataset, is_new = await to_thread.run_sync(
        services.datasets.admit, caller.tenant, upload.staged, upload.name, *content
    )
    return created(dataset_view(dataset), f"/v1/datasets/{dataset.id}", is_new)
