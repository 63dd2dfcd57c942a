"""`Idempotency-Key`: a request that is sent again is answered again, and not done again."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Annotated, Any

from anyio import to_thread
from fastapi import Header, Request
from fastapi.responses import Response
from sqlalchemy.exc import SQLAlchemyError

from ..errors import IdempotencyConflict, IdempotencyMismatch, Problem
from ..services import Services
from ..store.idempotency import Claim, Earlier
from .callers import Caller
from .problems import answer

logger = logging.getLogger(__name__)

RENEW_S = 5.0
REPLAYED = "Idempotency-Replayed"
RETRY_AFTER = {"Retry-After": "2"}

InKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern="^[ -~]*$",
        description="A request with a key that was used before gets the answer that was given then.",
    ),
]


async def once(
    request: Request,
    services: Services,
    caller: Caller,
    *,
    key: str | None,
    received: Any,
    act: Callable[[], Awaitable[Response]],
    resume: Callable[[str], Awaitable[Response]] | None = None,
) -> Response:
    """The answer of `act()`, or the one that was given to the same request under the same key.

    `received` is JSON that stands for the body. `resume(job id)` answers where the first request had its job submitted
    and kept no answer.
    """
    if key is None:
        return await act()
    claim = Claim(caller.tenant, key, _fingerprint(request, received))
    kept = await to_thread.run_sync(services.idempotency.begin, claim)
    if isinstance(kept, Earlier):
        response = await _again(claim, kept, resume)
        response.headers[REPLAYED] = "true"
        request.app.state.http_metrics.replayed()
        return response
    return await _first(request, services, claim, kept, act)


def _fingerprint(request: Request, received: Any) -> str:
    asked = [request.method, request.url.path, request.url.query, received]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


async def _again(claim: Claim, earlier: Earlier, resume: Callable[[str], Awaitable[Response]] | None) -> Response:
    if earlier.fingerprint != claim.fingerprint:
        raise IdempotencyMismatch("The Idempotency-Key was used for another request before.")
    if earlier.status is not None:
        return Response(earlier.body, earlier.status, earlier.headers)
    if earlier.job is not None and resume is not None:
        return await resume(earlier.job)
    raise IdempotencyConflict("The first request with this Idempotency-Key is not answered yet.", headers=RETRY_AFTER)


async def _first(
    request: Request, services: Services, claim: Claim, hold: float, act: Callable[[], Awaitable[Response]]
) -> Response:
    """Do it and keep the answer; where there is none to keep, the next request may try again."""
    is_kept = False
    try:
        async with _renew(services, claim, hold):
            response = await act()
        is_kept = await _keep(services, claim, hold, response)
        return response
    except Problem as problem:
        is_kept = await _keep(services, claim, hold, answer(problem, request.url.path))
        raise
    finally:
        if not is_kept:
            await to_thread.run_sync(services.idempotency.release, claim, hold)


async def _keep(services: Services, claim: Claim, hold: float, response: Response) -> bool:
    """Keep the answer unless it is one that asks to try again; whether it was kept."""
    if response.status_code >= 500 or response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        return False
    headers = {name: value for name, value in response.headers.items() if name != "content-length"}
    body = bytes(response.body).decode()
    await to_thread.run_sync(services.idempotency.finish, claim, hold, response.status_code, headers, body)
    return True


@asynccontextmanager
async def _renew(services: Services, claim: Claim, hold: float) -> AsyncIterator[None]:
    """Renew the claim inside the block: an upload may take minutes."""

    async def renew() -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                await to_thread.run_sync(services.idempotency.renew, claim, hold)
            except SQLAlchemyError:
                logger.exception("a claim on an idempotency key could not be renewed and will be tried again")

    task = asyncio.create_task(renew())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
