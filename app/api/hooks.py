"""What registries call. The answer comes at once; the work is done in the background, and survives a crash."""

from __future__ import annotations

import hashlib
import time

from anyio import to_thread
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from ..errors import BadSignature, Draining, HookDisabled, MalformedJson, StaleDelivery
from ..refusals import TooLarge
from ..registries import huggingface, mlflow
from ..registries.signing import check_mlflow, same
from ..services import Services
from ..store.hooks import HookKey
from .bodies import small_body
from .dependencies import InServices, TakingWork
from .documents import answers
from .problems import parse_json

router = APIRouter(prefix="/v1/hooks", tags=["Registry hooks and webhooks"], dependencies=[TakingWork])

MAX_BYTES = 2**20
MAX_ID = 128
CHALLENGE = {"WWW-Authenticate": "Signature"}
PROBLEMS = (BadSignature, StaleDelivery, HookDisabled, MalformedJson, TooLarge, Draining)
BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}}


class Taken(BaseModel):
    """What becomes of a delivery."""

    delivery: str = Field(description="The registry's id of its message.")
    state: str = Field(description="ignored; or received, waiting (for the job), reporting, done or failed.")
    job: str | None = Field(default=None, description="The job that came of it; null before.")


@router.post("/mlflow", status_code=202, openapi_extra=BODY, responses=answers(*PROBLEMS))
async def mlflow_hook(request: Request, services: InServices) -> Taken:
    """A webhook of an MLflow 3 model registry: new versions and aliases are analysed, and tagged with what is found."""
    body, settings = await small_body(request, MAX_BYTES), services.settings
    secret = _configured(settings.mlflow_webhook_secret if services.outbound.server is not None else "")
    try:
        delivery = check_mlflow(secret, request.headers, body, time.time(), settings.hook_tolerance_s)
    except (BadSignature, StaleDelivery) as problem:
        raise type(problem)(problem.detail, headers=CHALLENGE) from problem
    return await _taken(services, mlflow.NAME, delivery, mlflow.event_of(parse_json(body)))


@router.post("/huggingface", status_code=202, openapi_extra=BODY, responses=answers(*PROBLEMS))
async def huggingface_hook(request: Request, services: InServices) -> Taken:
    """A webhook of the Hugging Face hub: the model at the pushed commit is analysed."""
    body = await small_body(request, MAX_BYTES)
    secret = _configured(services.settings.huggingface_webhook_secret)
    if not same(request.headers.get("x-webhook-secret", ""), secret):
        raise BadSignature("The header X-Webhook-Secret is missing or wrong.", headers=CHALLENGE)
    event = huggingface.event_of(parse_json(body))
    # The hub numbers no deliveries: the same commit of the same repository is the same delivery.
    delivery = "" if event is None else f"{event['repository']}@{event['revision']}"
    return await _taken(services, huggingface.NAME, delivery, event)


async def _taken(services: Services, registry: str, delivery: str, event: dict[str, str] | None) -> Taken:
    if event is None:
        return Taken(delivery=delivery, state="ignored")
    if len(delivery) > MAX_ID:
        delivery = hashlib.sha256(delivery.encode()).hexdigest()
    key = HookKey(registry, delivery)
    row = await to_thread.run_sync(services.outbound.hooks.receive, key, services.settings.hook_owner, event)
    return Taken(delivery=delivery, state=row["state"], job=row["job"])


def _configured(secret: str) -> str:
    if not secret:
        raise HookDisabled("The operator has configured no such registry.")
    return secret
