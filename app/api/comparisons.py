"""Two models compared: a job like any other, whose result is a comparison."""

from __future__ import annotations

import hashlib

from fastapi import APIRouter, Depends, Request, Response

from ..contract.comparison import ComparisonFields, ComparisonRequest
from ..contract.job import JobView
from ..contract.plain import Json
from ..errors import UnknownModel
from ..parsing import parse_fields
from ..refusals import TooLarge
from ..services import Services
from .bodies import small_body
from .callers import Caller, InCaller, allowed
from .dependencies import InServices, TakingWork
from .documents import answers, json_body
from .idempotency import InKey
from .jobs import MAX_REQUEST_BYTES, SUBMISSION_PROBLEMS
from .models import UPLOAD_PROBLEMS, admit
from .problems import parse_json
from .submission import submit, submit_once
from .uploads import received_pair

router = APIRouter(prefix="/v1", tags=["Comparisons"], dependencies=[Depends(allowed)])


def _body() -> Json:
    """JSON of ids, or a form with both files."""
    body = json_body("ComparisonRequest")
    file = {"type": "string", "format": "binary"}
    parts = {"a": file, "b": file, "request": {"$ref": "#/components/schemas/ComparisonFields"}}
    form = {"schema": {"type": "object", "required": ["a", "b"], "properties": parts}}
    body["requestBody"]["content"]["multipart/form-data"] = form
    return body


@router.post(
    "/comparisons",
    status_code=202,
    response_model=JobView,
    dependencies=[TakingWork],
    openapi_extra=_body(),
    responses=answers(TooLarge, *UPLOAD_PROBLEMS, UnknownModel, *SUBMISSION_PROBLEMS, also={200: {"model": JobView}}),
)
async def compare(request: Request, services: InServices, caller: InCaller, key: InKey = None) -> Response:
    """How far two models of the same inputs and outputs are apart: uploaded ones by their ids, or both in one form."""
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return await _of_files(request, services, caller, key)
    body = await small_body(request, MAX_REQUEST_BYTES)

    async def act() -> Response:
        return await _submit(request, services, caller, parse_fields(ComparisonRequest, parse_json(body)), key)

    received = hashlib.sha256(body).hexdigest()
    return await submit_once(request, services, caller, key=key, received=received, act=act)


async def _of_files(request: Request, services: Services, caller: Caller, key: str | None) -> Response:
    async with received_pair(request, services.blobs, services.settings.max_unpacked_bytes) as (first, second):

        async def act() -> Response:
            fields = parse_fields(ComparisonFields, parse_json(first.fields.get("request", b"{}")))
            models = [(await admit(services, caller, upload))[0].id for upload in (first, second)]
            asked = fields.model_dump(mode="json", exclude_unset=True) | {"a": models[0], "b": models[1]}
            return await _submit(request, services, caller, parse_fields(ComparisonRequest, asked), key)

        received_files = [*first.summary(), *second.summary()]
        return await submit_once(request, services, caller, key=key, received=received_files, act=act)


async def _submit(
    request: Request, services: Services, caller: Caller, fields: ComparisonRequest, key: str | None
) -> Response:
    caller.require_priority(fields.priority)
    return await submit(request, services, caller, model=fields.a, fields=fields, key=key)
