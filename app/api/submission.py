"""From a checked request to a job, and from the job to the answer of `POST`."""

from __future__ import annotations

from anyio import to_thread
from fastapi import Request
from fastapi.responses import JSONResponse, Response

from app.api.callers import Caller, require_allowed
from app.api.house import House
from app.api.views import job_view
from app.api.waiting import preferred_wait, until_over
from app.contract.job import JobView
from app.contract.request import AnalysisFields
from app.errors import InvalidRequest
from app.jobs.record import JobRecord
from app.jobs.service import Submission
from app.observability import span
from app.registries.guard import Guard, Refused
from app.settings import Settings

RETRY_AFTER_S = 1


async def submitted(
    request: Request, house: House, caller: Caller, model: str, fields: AnalysisFields, key: str | None
) -> Response:
    """Queue the job; 200 with the finished job when the request waits and it ends in time, else 202."""
    submission = Submission(
        model,
        fields.canonical(),
        timeout_s=time_limit(fields, house.settings),
        priority=fields.priority,
        metadata=fields.metadata,
        use_cache="no-cache" not in request.headers.get("cache-control", "").lower(),
        tenant=caller.tenant,
        idempotency_key=key,
        queue_timeout_s=fields.queue_timeout_s,
        webhook_url=_checked_url(fields.webhook_url, house.outbound.guard),
    )
    with span(request, "submit job") as attributes:
        job = await to_thread.run_sync(house.jobs.submit, submission)
        attributes |= {"lipserve.job": job.id, "lipserve.model": model, "lipserve.cached": job.cached}
    return await _answer(request, house, caller, job)


async def resumed(request: Request, house: House, caller: Caller, job_id: str) -> Response:
    """The answer about a job that the same request submitted earlier."""
    job = await to_thread.run_sync(house.jobs.get, caller.tenant, job_id)
    return await _answer(request, house, caller, job)


async def _answer(request: Request, house: House, caller: Caller, job: JobRecord) -> Response:
    request.state.job = job.id
    wait_s = preferred_wait(request, house.settings.max_wait_s)
    if wait_s is not None:
        job = await until_over(house, job, wait_s)
        await require_allowed(house, caller)
    headers = {"Location": f"/v1/jobs/{job.id}"}
    if wait_s is not None:
        headers["Preference-Applied"] = f"wait={wait_s:g}"
    if not job.is_over:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    status = 200 if wait_s is not None and job.is_over else 202
    view = await to_thread.run_sync(view_of, house, job)
    return Response(view.model_dump_json(exclude_unset=True), status, headers, JSONResponse.media_type)


def view_of(house: House, job: JobRecord) -> JobView:
    """The job with its result, or its place in the queue."""
    return job_view(job, house.jobs.result(job), house.jobs.ahead([job]).get(job.id))


def _checked_url(url: str | None, guard: Guard) -> str | None:
    """The receiver's URL; InvalidRequest for one that would be refused whatever its name resolves to."""
    try:
        if url is not None:
            guard.check_url(url)
    except Refused as error:
        raise InvalidRequest(
            f"#/webhook_url: {error}", errors=[{"detail": str(error), "pointer": "#/webhook_url"}]
        ) from error
    return url


def time_limit(fields: AnalysisFields, settings: Settings) -> float:
    """The time limit asked for; else the service's, or what leaves room for the budget."""
    if fields.timeout_s is None:
        roomy = max(settings.default_timeout_s, 2 * fields.budget_s + 60)
        return min(roomy, settings.max_timeout_s)
    if fields.timeout_s > settings.max_timeout_s:
        detail = f"the longest time limit here is {settings.max_timeout_s:g} s"
        raise InvalidRequest(f"#/timeout_s: {detail}", errors=[{"detail": detail, "pointer": "#/timeout_s"}])
    return fields.timeout_s
