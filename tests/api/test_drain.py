"""SIGTERM: no new work, nobody is cut off, and nobody waits for nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT, RunningService, eventually, fake_model
from tests.effort import sampled
from tests.preloaded import START_S, environment_of

Start = Callable[..., RunningService]


def stopping(service: RunningService) -> httpx.Client:
    """A client of a service that has begun to stop and goes on answering for a while."""
    service.process.signal(signal.SIGTERM)
    eventually(lambda: service.client.get("/readyz").status_code, lambda status: status == 503)
    return service.client


def ended(service: RunningService, within_s: float) -> int:
    """The exit status."""
    return service.process.wait(within_s)


def running(service: RunningService, seconds: float) -> dict[str, str]:
    job = service.analyze(fake_model(analyze={"do": "sleep", "seconds": seconds}), wait=None).json()
    eventually(lambda: service.client.get(job["urls"]["self"]).json()["status"], lambda status: status == "running")
    return job


def test_an_idle_service_ends_at_once_with_status_0(start_service: Start) -> None:
    service = start_service()
    begun = time.monotonic()
    service.process.signal(signal.SIGTERM)
    assert ended(service, 10) == 0
    assert time.monotonic() - begun < 3


def test_a_service_in_an_interpreter_of_its_own(tmp_path: Path) -> None:
    """As everybody starts it; other tests fork it from a process that has imported it."""
    service = RunningService(tmp_path / "data")
    command = [sys.executable, "-m", "app", "serve"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment_of(service.settings), stdout=log, stderr=log)
    try:
        eventually(lambda: is_ready(service), bool, START_S)
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        service.stop()


def is_ready(service: RunningService) -> bool:
    try:
        return set(service.client.get("/readyz").json()["checks"].values()) == {"ok"}
    except httpx.TransportError:
        return False


def test_a_stopping_service_takes_no_work_and_answers_the_rest(start_service: Start) -> None:
    service = start_service(drain_s=1)
    model = service.upload(fake_model(test="drain"))
    job = service.client.post("/v1/jobs", json={"model": model}, headers={"Prefer": "wait=20"}).json()
    client = stopping(service)
    assert client.get("/readyz").json()["checks"]["service"] == "draining"
    assert client.get("/livez").status_code == 200
    data = fake_model(test="late")
    for method, url in (
        ("POST", "/v1/jobs"), ("POST", "/v1/models"), ("POST", "/v1/datasets"), ("POST", "/v1/analyze"),
        ("PUT", f"/v1/models/{model}"), ("GET", f"/v1/models/{model}/graph"),
    ):  # fmt: skip
        answer = client.request(method, url, content=data)
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:lipserve:problem:draining"), url
        assert int(answer.headers["Retry-After"]) > 0
    assert client.get(job["urls"]["self"]).json()["result"]
    assert client.post(job["urls"]["cancel"]).status_code == 200
    assert ended(service, 10) == 0


def test_those_who_wait_are_answered_and_the_job_goes_back_to_the_queue(start_service: Start) -> None:
    service = start_service()
    job = running(service, 60)
    answers: dict[str, httpx.Response] = {}

    def ask(name: str, method: str, url: str, **how: object) -> None:
        answers[name] = httpx.request(method, service.url + url, timeout=60, **how)  # type: ignore[arg-type]

    asked = {
        "long-poll": ("GET", job["urls"]["self"] + "?wait=50", {}),  # type: ignore[index]
        "events": ("GET", job["urls"]["events"], {"headers": {"Accept": "text/event-stream"}}),  # type: ignore[index]
        "submission": (
            "POST", "/v1/analyze", {"content": fake_model(test="x"), "headers": {"Prefer": "wait=50"}},
        ),
    }  # fmt: skip
    threads = [
        threading.Thread(target=ask, args=(name, method, url), kwargs=how) for name, (method, url, how) in asked.items()
    ]
    for thread in threads:
        thread.start()
    time.sleep(1)
    begun = time.monotonic()
    service.process.signal(signal.SIGTERM)
    for thread in threads:
        thread.join()
    assert time.monotonic() - begun < 2
    assert ended(service, 10) == 0
    assert answers["long-poll"].json()["status"] == "running"
    assert answers["events"].text.count("event: status") == 2
    assert (answers["submission"].status_code, answers["submission"].json()["status"]) == (202, "queued")
    service.start()
    seen = eventually(
        lambda: service.client.get(f"/v1/jobs/{job['id']}").json(), lambda shown: shown["attempt"] == 2, 20
    )
    assert seen["status"] == "running"


def test_an_open_upload_is_finished(start_service: Start) -> None:
    service = start_service()
    data = fake_model(test="slow upload")

    def slowly() -> object:
        yield data[:5]
        time.sleep(0.5)
        service.process.signal(signal.SIGTERM)
        time.sleep(1)
        yield data[5:]

    answer = httpx.post(service.url + "/v1/models", content=slowly(), timeout=30)  # type: ignore[arg-type]
    assert answer.status_code == 201
    assert ended(service, 10) == 0


@pytest.mark.slow
@pytest.mark.parametrize("second", sampled([None, signal.SIGTERM], every=2))
def test_an_upload_that_never_ends_is_cut_off(start_service: Start, second: signal.Signals | None) -> None:
    service = start_service(shutdown_s=1 if second is None else 60)
    begun = 0.0

    def endless() -> object:
        nonlocal begun
        yield b"\x08"
        time.sleep(0.5)
        begun = time.monotonic()
        service.process.signal(signal.SIGTERM)
        time.sleep(0.5)
        if second is not None:
            service.process.signal(second)
        while not service.process.is_over():
            time.sleep(0.1)
            yield b"\x08"

    with suppress(httpx.TransportError):
        httpx.post(service.url + "/v1/models", content=endless(), timeout=30)  # type: ignore[arg-type]
    assert ended(service, 15) == 0
    assert time.monotonic() - begun < 8
