"""Server-sent events of one job, resumable by `Last-Event-ID`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from anyio import to_thread
from fastapi import Request
from fastapi.responses import StreamingResponse
from sqlalchemy import RowMapping

from ..contract.plain import Json
from ..errors import JobExpired, UnknownJob
from ..jobs.record import JobRecord
from ..services import Services
from .callers import Caller, still_allowed
from .waiting import LOOK_S, wait_for_ring, woken

MEDIA_TYPE = "text/event-stream"
BATCH = 100
MOST_EVENTS = 2**62
MOST_DIGITS = len(str(MOST_EVENTS))
KEEP_ALIVE = ": keep-alive\n\n"
KEEP_ALIVE_S = 15.0


def wants_stream(request: Request) -> bool:
    """Whether the client accepts server-sent events."""
    return MEDIA_TYPE in request.headers.get("accept", "")


def event_stream(request: Request, services: Services, caller: Caller, job: JobRecord, after: int) -> StreamingResponse:
    """Every event after number `after`, or after `Last-Event-ID`, until the job is over, the caller's key is revoked or
    the service stops.
    """
    last = request.headers.get("last-event-id", "")
    start = min(int(last[:MOST_DIGITS]), MOST_EVENTS) if last.isdecimal() else after
    lines = _lines(services, caller, job, start)
    return StreamingResponse(lines, media_type=MEDIA_TYPE, headers={"Cache-Control": "no-store"})


async def _lines(services: Services, caller: Caller, job: JobRecord, after: int) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    spoke_at = loop.time()
    with woken(services, job.id) as bell:
        while True:
            bell.clear()
            if not await to_thread.run_sync(still_allowed, services, caller):
                return
            is_over = await to_thread.run_sync(_is_over, services, job)
            rows = await to_thread.run_sync(services.jobs.events, job.id, after, BATCH)
            for row in rows:
                after, spoke_at = row["id"], loop.time()
                yield _line(row)
            if (is_over and len(rows) < BATCH) or services.drain.is_on:
                return
            if loop.time() - spoke_at > KEEP_ALIVE_S:
                spoke_at = loop.time()
                yield KEEP_ALIVE
            if not rows:
                await wait_for_ring(bell, LOOK_S)


def _is_over(services: Services, job: JobRecord) -> bool:
    """A job that was deleted meanwhile is over, too."""
    try:
        return services.jobs.get(job.tenant, job.id).is_over
    except (UnknownJob, JobExpired):
        return True


def _line(row: RowMapping) -> str:
    data: Json = row["data"]
    return f"id: {row['id']}\nevent: {row['type']}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"
