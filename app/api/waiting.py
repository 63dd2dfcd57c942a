"""Waiting for a job without holding a thread: woken in this process, else by a look at the table."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager

from anyio import to_thread
from fastapi import Request

from ..jobs.record import JobRecord
from ..services import Services

LOOK_S = 1.0
PREFERENCE = re.compile(r"(?:^|,)\s*wait\s*=\s*(\d{1,9})\s*(?:,|;|$)", re.IGNORECASE)


async def until_over(services: Services, job: JobRecord, seconds: float, *, stays: bool = False) -> JobRecord:
    """The job when it is over, or as it is after that many seconds, or when the service stops unless it `stays`."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    with woken(services, job.id) as bell:
        while True:
            bell.clear()
            job = await to_thread.run_sync(services.jobs.get, job.tenant, job.id)
            left = end - loop.time()
            if job.is_over or left <= 0 or (services.drain.is_on and not stays):
                return job
            await wait_for_ring(bell, min(left, LOOK_S))


@contextmanager
def woken(services: Services, job_id: str) -> Iterator[asyncio.Event]:
    """A bell that rings at every change of the job, and when the service stops."""
    with services.watch.bell(job_id) as bell, services.drain.rings(bell):
        yield bell


async def wait_for_ring(bell: asyncio.Event, seconds: float) -> None:
    """Return when the bell rings, at the latest after that many seconds."""
    try:
        async with asyncio.timeout(seconds):
            await bell.wait()
    except TimeoutError:
        return


def preferred_wait(request: Request, max_wait_s: float) -> float | None:
    """Seconds of `Prefer: wait=N` (RFC 7240), within the service's limit; None when it is not asked for."""
    preference = PREFERENCE.search(request.headers.get("prefer", ""))
    return min(float(preference[1]), max_wait_s) if preference else None
