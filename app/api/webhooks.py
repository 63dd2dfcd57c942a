"""Outgoing webhooks: their signing secret, what was sent, and sending it again."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from sqlalchemy import RowMapping

from ..contract.job import time_of
from ..errors import UnknownDelivery
from ..refusals import InvalidRequest
from ..store.deliveries import PENDING
from ..store.keys import Scope
from .callers import InCaller
from .dependencies import InServices
from .documents import answers
from .paging import InPages

router = APIRouter(prefix="/v1/webhooks", tags=["Registry hooks and webhooks"])


class SecretView(BaseModel):
    """What a receiver checks signatures with."""

    secret: str = Field(description="`whsec_` and the key in base64, as Standard Webhooks has it.")


class AttemptView(BaseModel):
    """One try."""

    at: datetime = Field(description="When it was made.")
    status: int | None = Field(description="The receiver's HTTP status; null where it gave none.")
    error: str | None = Field(description="Why the try failed; null for one that did not.")
    seconds: float = Field(description="Time that it took.")


class DeliveryView(BaseModel):
    """One message to one receiver."""

    id: str = Field(description="The header `webhook-id`, the same in every try.")
    job: str = Field(description="The job that it is about.")
    url: str = Field(description="The receiver.")
    type: str = Field(description="job.succeeded, job.failed, job.canceled or job.timed_out.")
    state: str = Field(description="pending, delivered or failed.")
    created_at: datetime = Field(description="When the job was over.")
    delivered_at: datetime | None = Field(description="When the receiver took it; null until then.")
    next_at: datetime | None = Field(description="When it is tried next; null once it is settled.")
    attempts: list[AttemptView] = Field(description="Every try, oldest first.")

    @classmethod
    def of(cls, row: RowMapping, attempts: list[RowMapping]) -> DeliveryView:
        """The view of a row and of the attempts at any messages."""
        return cls(
            **{name: row[name] for name in ("id", "job", "url", "type", "state")},
            created_at=time_of(row["created_at"]),
            delivered_at=row["delivered_at"] and time_of(row["delivered_at"]),
            next_at=time_of(row["next_at"]) if row["state"] == PENDING else None,
            attempts=[
                AttemptView(at=time_of(tried["at"]), **{n: tried[n] for n in ("status", "error", "seconds")})
                for tried in attempts
                if tried["delivery"] == row["id"]
            ],
        )


class DeliveryPage(BaseModel):
    """Messages, newest first."""

    deliveries: list[DeliveryView] = Field(description="This page of them.")
    next_page_token: str | None = Field(description="For the query parameter `page_token`; null on the last page.")


class ReceivedView(BaseModel):
    """What a registry told the service, and how far the service is with it."""

    registry: str = Field(description="mlflow or huggingface.")
    delivery: str = Field(description="The registry's id of its message.")
    state: str = Field(description="received, waiting (for the job), reporting, done or failed.")
    event: dict[str, str] = Field(description="What the message is about.")
    job: str | None = Field(description="The job that came of it; null before.")
    error: str | None = Field(description="What went wrong; null where nothing did.")
    tags: dict[str, str] | None = Field(description="What was written back, or will be.")
    created_at: datetime = Field(description="When it came.")

    @classmethod
    def of(cls, row: RowMapping) -> ReceivedView:
        """The view of a row."""
        names = ("registry", "delivery", "state", "event", "job", "error", "tags")
        return cls(**{name: row[name] for name in names}, created_at=time_of(row["created_at"]))


class ReceivedPage(BaseModel):
    """Deliveries of registries, newest first."""

    received: list[ReceivedView] = Field(description="This page of them.")
    next_page_token: str | None = Field(description="For the query parameter `page_token`; null on the last page.")


@router.get("/secret")
def get_secret(services: InServices, caller: InCaller) -> SecretView:
    """The secret that the caller's webhooks are signed with; to know it, a key must have the scope `write` as well."""
    caller.require(Scope.WRITE)
    return SecretView(secret=services.outbound.secret_of(caller.tenant))


@router.get("/deliveries", responses=answers(InvalidRequest))
def list_deliveries(
    services: InServices,
    caller: InCaller,
    page: InPages,
    job: Annotated[str | None, Query(max_length=36, description="Only those about this job.")] = None,
) -> DeliveryPage:
    """Messages with every attempt, newest first."""
    repository = services.outbound.deliveries
    rows = repository.page(caller.tenant, job, page.limit, page.after)
    shown, token = page.cut(rows, lambda row: (row["created_at"], row["id"]))
    attempts = repository.attempts([row["id"] for row in shown])
    return DeliveryPage(deliveries=[DeliveryView.of(row, attempts) for row in shown], next_page_token=token)


@router.post("/deliveries/{delivery_id}/redeliver", status_code=202, responses=answers(UnknownDelivery))
def redeliver(delivery_id: Annotated[str, Path(max_length=36)], services: InServices, caller: InCaller) -> DeliveryView:
    """Send a message again, under the same id, whatever became of it before."""
    repository = services.outbound.deliveries
    row = repository.resend(caller.tenant, delivery_id)
    if row is None:
        raise UnknownDelivery(f"No delivery {delivery_id}.")
    return DeliveryView.of(row, repository.attempts([delivery_id]))


@router.get("/received", responses=answers(InvalidRequest))
def list_received(services: InServices, caller: InCaller, page: InPages) -> ReceivedPage:
    """What registries told the service, newest first."""
    rows = services.outbound.hooks.page(caller.tenant, page.limit, page.after)
    shown, token = page.cut(rows, lambda row: (row["created_at"], row["delivery"]))
    return ReceivedPage(received=[ReceivedView.of(row) for row in shown], next_page_token=token)
