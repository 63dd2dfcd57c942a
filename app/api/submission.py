"""From a checked request to a job, and from the job to the answer of `POST`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from anyio import to_thread
from fastapi import Request
from fastapi.responses import JSONResponse, Response

from ..contract.job import JobView
from ..contract.request import AnalysisFields
from ..jobs.record import JobRecord
from ..jobs.submission import Submission
from ..observability import span
from ..refusals import InvalidRequest
from ..registries.guard import Guard, Refused
from ..services import Services
from .callers import Caller, require_allowed
from .idempotency import once
from .views import job_view
from .waiting import preferred_wait, until_over

RETRY_AFTER_S = 1


async def submit(
    request: Request, services: Services, caller: Caller, *, model: str, fields: AnalysisFields, key: str | None
) -> Response:
    """Queue the job; 200 with the finished job when the request waits and it ends in time, else 202."""
    _check_url(fields.webhook_url, services.outbound.guard)
    submission = Submission.of(
        fields,
        services.settings,
        model=model,
        tenant=caller.tenant,
        idempotency_key=key,
        use_cache="no-cache" not in request.headers.get("cache-control", "").lower(),
    )
    with span(request, "submit job") as attributes:
        job = await to_thread.run_sync(services.jobs.submit, submission)
        attributes |= {"lipserve.job": job.id, "lipserve.model": model, "lipserve.cached": job.cached}
    return await _answer(request, services, caller, job)


async def submit_once(
    request: Request,
    services: Services,
    caller: Caller,
    *,
    key: str | None,
    received: Any,
    act: Callable[[], Awaitable[Response]],
) -> Response:
    """The answer of `act()`, or the one about the job that the same request submitted earlier under the same key."""
    resume = partial(_resume, request, services, caller)
    return await once(request, services, caller, key=key, received=received, act=act, resume=resume)


async def _resume(request: Request, services: Services, caller: Caller, job_id: str) -> Response:
    job = await to_thread.run_sync(services.jobs.get, caller.tenant, job_id)
    return await _answer(request, services, caller, job)


async def _answer(request: Request, services: Services, caller: Caller, job: JobRecord) -> Response:
    request.state.job = job.id
    wait_s = preferred_wait(request, services.settings.max_wait_s)
    if wait_s is not None:
        job = await until_over(services, job, wait_s)
        await require_allowed(services, caller)
    headers = {"Location": f"/v1/jobs/{job.id}"}
    if wait_s is not None:
        headers["Preference-Applied"] = f"wait={wait_s:g}"
    if not job.is_over:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    status = 200 if wait_s is not None and job.is_over else 202
    view = await to_thread.run_sync(view_of, services, job)
    return Response(view.model_dump_json(exclude_unset=True), status, headers, JSONResponse.media_type)


def view_of(services: Services, job: JobRecord) -> JobView:
    """The job with its result, or its place in the queue."""
    return job_view(job, services.jobs.result(job), services.jobs.ahead([job]).get(job.id))


def _check_url(url: str | None, guard: Guard) -> None:
    """InvalidRequest for a receiver's URL that would be refused whatever its name resolves to."""
    try:
        if url is not None:
            guard.check_url(url)
    except Refused as error:
        raise InvalidRequest(
            f"#/webhook_url: {error}", errors=[{"detail": str(error), "pointer": "#/webhook_url"}]
        ) from error
