"""The models of the contract."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Path, Request, Response

from app.api import formats
from app.api.documents import answers, file_body
from app.api.house import House, InHouse
from app.api.pages import InPages
from app.api.uploads import Upload, received
from app.api.views import ModelPage, ModelView
from app.api.waiting import until_over
from app.errors import (
    Busy,
    DigestMismatch,
    InvalidModel,
    InvalidRequest,
    MalformedRequest,
    ModelInUse,
    NotAModel,
    StorageFull,
    TooLarge,
    UnknownModel,
)
from app.jobs.admission import ModelRecord

router = APIRouter(prefix="/v1/models", tags=["Models"])

Digest = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="SHA-256 of the file.")]

UPLOAD_PROBLEMS = (MalformedRequest, TooLarge, NotAModel, InvalidModel, Busy, StorageFull)


async def admitted(house: House, upload: Upload) -> tuple[ModelRecord, bool]:
    """The model that an uploaded file is, and whether it is new; a child reads new files first."""
    models, staged = house.models, upload.staged
    await to_thread.run_sync(formats.detect, staged.path, house.settings.max_unpacked_bytes)
    known = await to_thread.run_sync(models.known, staged.sha256)
    if known is not None:
        return known, False
    inspection = await to_thread.run_sync(models.submit_inspection, staged)
    inspection = await until_over(house, inspection, models.patience_s)
    return await to_thread.run_sync(models.admit, staged, upload.name, inspection)


@router.post("", openapi_extra=file_body(), responses=answers(*UPLOAD_PROBLEMS, also={201: {"model": ModelView}}))
async def upload_model(request: Request, response: Response, house: InHouse) -> ModelView:
    """Upload a model: 201 when it is new, 200 when the same bytes are known."""
    async with received(request, house.blobs) as upload:
        model, is_new = await admitted(house, upload)
    return _answer(response, model, is_new)


@router.put(
    "/{model_id}",
    openapi_extra=file_body(),
    responses=answers(DigestMismatch, *UPLOAD_PROBLEMS, also={201: {"model": ModelView}}),
)
async def put_model(model_id: Digest, request: Request, response: Response, house: InHouse) -> ModelView:
    """Upload a model whose SHA-256 is known beforehand."""
    async with received(request, house.blobs) as upload:
        if upload.staged.sha256 != model_id:
            raise DigestMismatch(f"The bytes received have the SHA-256 {upload.staged.sha256}.")
        model, is_new = await admitted(house, upload)
    return _answer(response, model, is_new)


@router.get("", responses=answers(InvalidRequest))
def list_models(house: InHouse, page: InPages) -> ModelPage:
    """Models, newest first."""
    records = house.models.page(page.limit, page.after)
    shown, token = page.cut(records, lambda record: (record.created_at, record.id))
    return ModelPage(models=[ModelView.of(record) for record in shown], next_page_token=token)


@router.get("/{model_id}", responses=answers(UnknownModel))
def get_model(model_id: Digest, house: InHouse) -> ModelView:
    """One model."""
    return ModelView.of(house.models.get(model_id))


@router.head("/{model_id}", responses=answers(UnknownModel))
def has_model(model_id: Digest, house: InHouse) -> Response:
    """Whether the model is known."""
    house.models.get(model_id)
    return Response()


@router.delete("/{model_id}", status_code=204, responses=answers(UnknownModel, ModelInUse))
def delete_model(model_id: Digest, house: InHouse) -> None:
    """Forget a model and its file. Jobs that are over keep their results."""
    house.models.delete(model_id)


def _answer(response: Response, model: ModelRecord, is_new: bool) -> ModelView:
    response.status_code = 201 if is_new else 200
    response.headers["Location"] = f"/v1/models/{model.id}"
    return ModelView.of(model)
