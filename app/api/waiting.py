"""Waiting for a job without holding a thread: woken in this process, else by a look at the table."""

from __future__ import annotations

import asyncio
import re

from anyio import to_thread
from fastapi import Request

from app.api.house import House
from app.jobs.record import JobRecord

LOOK_S = 1.0
PREFERENCE = re.compile(r"(?:^|,)\s*wait\s*=\s*(\d{1,9})\s*(?:,|;|$)", re.IGNORECASE)


async def until_over(house: House, job: JobRecord, seconds: float) -> JobRecord:
    """The job when it is over, or as it is after that many seconds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    with house.watch.bell(job.id) as bell:
        while True:
            bell.clear()
            job = await to_thread.run_sync(house.jobs.get, job.id)
            left = end - loop.time()
            if job.is_over or left <= 0:
                return job
            await rung(bell, min(left, LOOK_S))


async def rung(bell: asyncio.Event, seconds: float) -> None:
    """Return when the bell rings, at the latest after that many seconds."""
    try:
        async with asyncio.timeout(seconds):
            await bell.wait()
    except TimeoutError:
        return


def preferred_wait(request: Request, max_wait_s: float) -> float | None:
    """Seconds of `Prefer: wait=N` (RFC 7240), within the service's limit; None when it is not asked for."""
    found = PREFERENCE.search(request.headers.get("prefer", ""))
    return min(float(found[1]), max_wait_s) if found else None
