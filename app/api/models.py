"""The models of the contract."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Path, Query, Request, Response

from ..contract.question import SHAPES
from ..contract.request import GraphRequest
from ..contract.uploads import GraphView, ModelPage, ModelView
from ..errors import (
    Busy,
    DigestMismatch,
    Draining,
    IdempotencyConflict,
    IdempotencyMismatch,
    MalformedJson,
    MalformedRequest,
    ModelInUse,
    OutOfMemory,
    QueueDeadline,
    QueueFull,
    QuotaExceeded,
    SourceRefused,
    SourceUnreachable,
    StorageFull,
    StorageUnavailable,
    TimeLimit,
    TorchscriptRefused,
    UnknownModel,
    VersionTaken,
    WorkerCrashed,
    WorkerLost,
    WorkerProtocol,
)
from ..jobs.admission import ModelRecord, check_format
from ..parsing import parse_fields
from ..refusals import (
    AnalysisFailed,
    ConversionMismatch,
    DataDependentControlFlow,
    InvalidArtifact,
    InvalidInputs,
    InvalidModel,
    InvalidRequest,
    MissingData,
    NotAModel,
    StatefulModel,
    SurplusData,
    TooLarge,
    UnsupportedOperator,
)
from ..services import Services
from .callers import Caller, InCaller, allowed
from .dependencies import InServices, TakingWork
from .documents import answers, file_body
from .forms import Upload
from .idempotency import InKey, once
from .paging import InPages
from .queries import fields_of
from .series import AsVersion, name_version
from .sources import SourceRequest, fetched, names_source, source_request
from .uploads import received_model
from .views import created, model_view
from .waiting import until_over

router = APIRouter(prefix="/v1/models", tags=["Models"], dependencies=[Depends(allowed)])

Digest = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="SHA-256 of the file.")]

UPLOAD_PROBLEMS = (
    MalformedRequest, TooLarge, NotAModel, InvalidModel, MissingData, SurplusData,
    TorchscriptRefused, Busy, StorageUnavailable, StorageFull, VersionTaken,
)  # fmt: skip
SOURCE_PROBLEMS = (DigestMismatch, MalformedJson, InvalidRequest, SourceRefused, SourceUnreachable)
CREATION_PROBLEMS = (IdempotencyConflict, IdempotencyMismatch, Draining)

CAPTURE_PROBLEMS = (
    InvalidModel, InvalidArtifact, InvalidInputs, UnsupportedOperator, DataDependentControlFlow, StatefulModel,
    ConversionMismatch,
    TorchscriptRefused, AnalysisFailed, OutOfMemory, WorkerCrashed, WorkerProtocol, WorkerLost, TimeLimit,
    QueueDeadline, QueueFull, QuotaExceeded, Busy, Draining, StorageUnavailable,
)  # fmt: skip


async def admit(services: Services, caller: Caller, upload: Upload) -> tuple[ModelRecord, bool]:
    """The model that an uploaded file is, and whether it is new; a child reads new files first."""
    models, staged = services.models, upload.staged
    await to_thread.run_sync(check_format, staged, services.settings.max_unpacked_bytes)
    known = await to_thread.run_sync(models.known, caller.tenant, staged.sha256)
    if known is not None:
        return known, False
    inspection = await to_thread.run_sync(models.submit_inspection, caller.tenant, staged)
    inspection = await until_over(services, inspection, models.patience_s, stays=True)
    return await to_thread.run_sync(models.admit, caller.tenant, staged, upload.name, inspection)


@router.post(
    "",
    response_model=ModelView,
    dependencies=[TakingWork],
    openapi_extra=file_body(source="SourceRequest"),
    responses=answers(*UPLOAD_PROBLEMS, *SOURCE_PROBLEMS, *CREATION_PROBLEMS, also={201: {"model": ModelView}}),
)
async def upload_model(
    request: Request, services: InServices, caller: InCaller, named: AsVersion, key: InKey = None
) -> Response:
    """Upload a model, or name where it is: 201 when it is new, 200 when the same bytes are known."""
    if names_source(request):
        asked = await source_request(request)
        return await once(
            request,
            services,
            caller,
            key=key,
            received=asked.model_dump(),
            act=lambda: _from_source(services, caller, asked, named),
        )
    async with received_model(request, services.blobs, services.settings.max_unpacked_bytes) as upload:
        return await once(
            request,
            services,
            caller,
            key=key,
            received=upload.summary(),
            act=lambda: _answer(services, caller, upload, named),
        )


@router.put(
    "/{model_id}",
    response_model=ModelView,
    dependencies=[TakingWork],
    openapi_extra=file_body(),
    responses=answers(DigestMismatch, InvalidRequest, *UPLOAD_PROBLEMS, Draining, also={201: {"model": ModelView}}),
)
async def put_model(
    model_id: Digest, request: Request, services: InServices, caller: InCaller, named: AsVersion
) -> Response:
    """Upload a model whose SHA-256 is known beforehand."""
    async with received_model(request, services.blobs, services.settings.max_unpacked_bytes) as upload:
        if upload.staged.sha256 != model_id:
            raise DigestMismatch(f"The bytes received have the SHA-256 {upload.staged.sha256}.")
        return await _answer(services, caller, upload, named)


@router.get("", responses=answers(InvalidRequest))
def list_models(services: InServices, caller: InCaller, page: InPages) -> ModelPage:
    """Models, newest first."""
    records = services.models.page(caller.tenant, page.limit, page.after)
    shown, token = page.cut(records, lambda record: (record.created_at, record.id))
    return ModelPage(models=[model_view(record) for record in shown], next_page_token=token)


@router.get("/{model_id}", responses=answers(UnknownModel))
def get_model(model_id: Digest, services: InServices, caller: InCaller) -> ModelView:
    """One model."""
    return model_view(services.models.get(caller.tenant, model_id))


@router.get(
    "/{model_id}/graph", dependencies=[TakingWork], responses=answers(UnknownModel, InvalidRequest, *CAPTURE_PROBLEMS)
)
async def get_graph(
    model_id: Digest,
    services: InServices,
    caller: InCaller,
    inputs: Annotated[str | None, Query(description=f"{SHAPES} JSON, e.g. `[[1, 784]]`.")] = None,
) -> GraphView:
    """The graph of ATen operators that the model is captured as, with each operator's rule; a child runs the model."""
    asked = parse_fields(GraphRequest, {} if inputs is None else fields_of({"inputs": inputs}), is_text=True)
    models = services.models
    capture = await to_thread.run_sync(models.submit_graph, caller.tenant, model_id, asked.model_dump())
    capture = await until_over(services, capture, models.patience_s, stays=True)
    return GraphView(model=model_id, **await to_thread.run_sync(models.graph, capture))


@router.head("/{model_id}", response_class=Response, responses=answers(UnknownModel))
def has_model(model_id: Digest, services: InServices, caller: InCaller) -> Response:
    """Whether the model is known."""
    services.models.get(caller.tenant, model_id)
    return Response()


@router.delete("/{model_id}", status_code=204, responses=answers(UnknownModel, ModelInUse))
def delete_model(model_id: Digest, services: InServices, caller: InCaller) -> None:
    """Forget a model and its file. Jobs that are over keep their results."""
    services.models.delete(caller.tenant, model_id)


async def _from_source(services: Services, caller: Caller, asked: SourceRequest, named: AsVersion) -> Response:
    async with fetched(services, caller, asked) as location:
        if isinstance(location, Upload):
            return await _answer(services, caller, location, named)
        model = await to_thread.run_sync(services.models.get, caller.tenant, location)
        await name_version(services, caller, named, model.id)
        return created(model_view(model), f"/v1/models/{model.id}", is_new=False)


async def _answer(services: Services, caller: Caller, upload: Upload, named: AsVersion) -> Response:
    model, is_new = await admit(services, caller, upload)
    await name_version(services, caller, named, model.id)
    return created(model_view(model), f"/v1/models/{model.id}", is_new)
