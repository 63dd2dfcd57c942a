"""Many who wait, streams that break off, and lists that are read while they grow."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.conftest import RunningService, eventually, fake_model

WAITING = 200
OWN_THREADS = 64 + 16
"""What the service may take for queries, and what else runs in it."""


def thread_count(pid: int) -> int:
    return len(os.listdir(Path("/proc") / str(pid) / "task"))


@pytest.mark.slow
def test_two_hundred_waiting_requests_hold_no_thread(service: RunningService) -> None:
    job = service.analyze(fake_model(analyze={"do": "sleep", "seconds": 4}), wait=None).json()
    url = service.url + job["urls"]["self"]

    async def ask() -> tuple[list[str], float, int]:
        limits = httpx.Limits(max_connections=2 * WAITING)
        async with httpx.AsyncClient(timeout=60, limits=limits) as client:
            waiting = [asyncio.create_task(client.get(url, params={"wait": 30})) for _ in range(WAITING)]
            await asyncio.sleep(1.5)
            begun = time.perf_counter()
            assert (await client.get(service.url + "/v1/models")).status_code == 200
            seconds = time.perf_counter() - begun
            threads = thread_count(service.pid)
            return [answer.json()["status"] for answer in await asyncio.gather(*waiting)], seconds, threads

    statuses, seconds, threads = asyncio.run(ask())
    assert statuses == ["succeeded"] * WAITING
    assert seconds < 1, "somebody else is answered meanwhile"
    assert threads <= OWN_THREADS


def test_a_stream_that_broke_off_goes_on_where_it_was(service: RunningService) -> None:
    job = service.analyze(fake_model(analyze={"do": "tick", "times": 12, "every": 0.2}), wait=None).json()
    headers = {"Accept": "text/event-stream"}
    seen: list[int] = []

    def listen(least: int) -> bool:
        """Read so many events, then hang up; whether the stream ended by itself."""
        count = 0
        with service.client.stream("GET", job["urls"]["events"], headers=headers) as stream:
            for line in stream.iter_lines():
                if line.startswith("id: "):
                    seen.append(int(line.removeprefix("id: ")))
                    headers["Last-Event-ID"] = line.removeprefix("id: ")
                    count += 1
                if count == least:
                    return False
        return True

    assert not listen(1)
    assert not listen(2)
    assert listen(1000)
    page = service.client.get(job["urls"]["events"]).json()["events"]
    assert seen == [event["id"] for event in page]


def test_pages_neither_skip_nor_repeat_while_jobs_come_in(service: RunningService) -> None:
    model = service.upload(fake_model(test="growing list"))
    stop = threading.Event()

    def submit(seed: int) -> str:
        return service.client.post("/v1/jobs", json={"model": model, "seed": seed}).json()["id"]

    before = [submit(seed) for seed in range(12)]

    def grow() -> None:
        with httpx.Client(base_url=service.url, timeout=60) as client:
            seed = 1000
            while not stop.is_set():
                client.post("/v1/jobs", json={"model": model, "seed": (seed := seed + 1)})

    growing = threading.Thread(target=grow)
    growing.start()
    try:
        seen: list[str] = []
        url: str | None = f"/v1/jobs?model={model}&page_size=3"
        while url:
            answer = service.client.get(url)
            seen += [job["id"] for job in answer.json()["jobs"]]
            url = answer.links.get("next", {}).get("url")
            assert (url is None) == (answer.json()["next_page_token"] is None)
    finally:
        stop.set()
        growing.join()
    assert len(seen) == len(set(seen))
    assert seen[-12:] == before[::-1]
    eventually(
        lambda: service.client.get("/v1/jobs", params={"model": model, "status": "queued"}).json()["jobs"],
        lambda jobs: not jobs,
        60,
    )


def test_a_job_that_waits_too_long_is_timed_out(service: RunningService) -> None:
    busy = service.analyze(fake_model(analyze={"do": "sleep", "seconds": 68}), wait=None).json()
    model = service.upload(fake_model(test="queue deadline"))
    waiting = service.client.post("/v1/jobs", json={"model": model, "queue_timeout_s": 0.3}).json()
    ended = service.finished(waiting["id"])
    assert (ended["status"], ended["started_at"]) == ("timed_out", None)
    assert ended["error"]["type"] == "urn:lipserve:problem:queue-deadline"
    assert json.dumps(ended["request"]).count("queue_timeout_s") == 0, "it is no part of the question"
    service.client.post(busy["urls"]["cancel"])
    service.finished(busy["id"])


@pytest.mark.slow
def test_an_expired_job_is_gone(start_service: object) -> None:
    service: RunningService = start_service(retention_s=2)  # type: ignore[operator]
    job = service.analyze(fake_model(test="expires")).json()
    assert job["expires_at"] > job["finished_at"]
    paths = [job["urls"]["self"], job["urls"]["events"], job["urls"]["self"] + "/witness"]
    eventually(lambda: service.client.get(paths[0]).status_code, lambda status: status == 410)
    for path in paths:
        assert service.client.get(path).json()["type"] == "urn:lipserve:problem:job-expired"
    assert service.client.post(job["urls"]["cancel"]).status_code == 410
    assert service.client.get("/v1/jobs").json()["jobs"] == []
