"""One owner's long jobs and files that never end hold up nobody else, nor the owner's own short jobs for long."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from app.contract.methods import METHODS
from app.jobs.lanes import CHEAP, is_quick_analysis, reading_limit
from tests.api.owners import client_of, new_key
from tests.conftest import RunningService, eventually, fake_model

FOREVER = {"do": "sleep", "seconds": 600}
STUCK = {"do": "sleep_in_native_code", "seconds": 600}


def program(**told: Any) -> bytes:
    """A file that claims to be TorchScript, and tells the fake library what to do."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("m/constants.pkl", json.dumps(told))
        file.writestr("m/code/m.py", "")
    return buffer.getvalue()


def submit(client: httpx.Client, data: bytes, **request: Any) -> str:
    files = {"file": ("m.onnx", data), "request": (None, json.dumps(request), "application/json")}
    answer = client.post("/v1/analyze", files=files, headers={"Cache-Control": "no-cache"})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def job_of(client: httpx.Client, job: str, wait: float = 0) -> dict[str, Any]:
    return dict(client.get(f"/v1/jobs/{job}", params={"wait": wait}).json())


def is_running(service: RunningService, job: str) -> None:
    eventually(lambda: job_of(service.client, job), lambda seen: seen["status"] == "running")


@pytest.fixture
def busy(start_service: Callable[..., RunningService]) -> tuple[RunningService, str]:
    """A service whose one slot has a long job."""
    service = start_service(quick_s=1, poll_s=0.2)
    long = submit(service.client, fake_model(analyze=FOREVER))
    is_running(service, long)
    return service, long


def test_a_short_job_passes_a_long_one_in_a_lane_that_makes_no_service_ready(busy: tuple[RunningService, str]) -> None:
    service, long = busy
    workers = service.client.get("/v1/workers").json()["workers"]
    assert [worker["details"].get("lane") for worker in workers] == [None, None, "quick"]
    short = submit(service.client, fake_model())
    assert job_of(service.client, short, wait=10)["status"] == "succeeded"
    assert job_of(service.client, long)["status"] == "running"


@pytest.mark.slow
def test_who_outstays_the_quick_lane_waits_for_a_slot_and_loses_nothing(busy: tuple[RunningService, str]) -> None:
    service, long = busy
    slow = submit(service.client, fake_model(analyze={"do": "tick", "times": 300, "every": 0.01}))
    told = eventually(
        lambda: job_of(service.client, slow), lambda job: job["attempt"] == 1 and job["status"] == "queued"
    )
    assert told["queue"] == {"ahead": 0}
    assert job_of(service.client, submit(service.client, fake_model(name="b")), wait=10)["status"] == "succeeded"
    assert job_of(service.client, slow)["status"] == "queued"
    service.client.post(f"/v1/jobs/{long}/cancel")
    done = service.finished(slow)
    assert (done["status"], done["attempt"], done["error"]) == ("succeeded", 2, None)


@pytest.mark.slow
def test_a_power_cut_loses_neither_lane(busy: tuple[RunningService, str]) -> None:
    service, long = busy
    quick = submit(service.client, fake_model(analyze={"do": "sleep", "seconds": 0.8}))
    waiting = [submit(service.client, fake_model(), seed=seed) for seed in range(3)]
    is_running(service, quick)
    service.kill()
    service.start()
    for job in (quick, *waiting):
        assert service.finished(job)["status"] == "succeeded"
    is_running(service, long)


def test_a_job_says_how_many_are_ahead(busy: tuple[RunningService, str]) -> None:
    service, long = busy
    model = service.upload(fake_model(analyze=FOREVER, pad="x" * 2**16))
    slow = [service.client.post("/v1/jobs", json={"model": model, "seed": seed}).json() for seed in range(3)]
    assert [job["queue"] for job in slow] == [{"ahead": place} for place in range(3)]
    urgent = service.client.post("/v1/jobs", json={"model": model, "seed": 9, "priority": 9}).json()
    assert urgent["queue"] == {"ahead": 0}
    listed = service.client.get("/v1/jobs").json()["jobs"]
    assert {job["id"]: job["queue"] for job in listed} == {
        urgent["id"]: {"ahead": 0},
        **{job["id"]: {"ahead": place + 1} for place, job in enumerate(slow)},
        long: None,
    }


@pytest.fixture
def owners(start_service: Callable[..., RunningService]) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """Two owners of one service with a slot, a place for uploads, and a quick lane."""
    service = start_service(quick_s=60, poll_s=0.2, max_unpacked_bytes=2**20)
    clients = [client_of(service, new_key(service, owner, "read,write")["secret"]) for owner in ("ada", "bob")]
    service.client.headers["Authorization"] = clients[0].headers["Authorization"]
    yield clients[0], clients[1]
    for client in clients:
        client.close()


def test_programs_that_never_end_hold_up_nobody_else(owners: tuple[httpx.Client, httpx.Client]) -> None:
    ada, bob = owners

    def upload(number: int) -> None:
        try:
            ada.post("/v1/models", content=program(inspect=STUCK, number=number), timeout=20)
        except httpx.HTTPError:
            return

    threads = [threading.Thread(target=upload, args=(number,), daemon=True) for number in range(6)]
    for thread in threads:
        thread.start()
    eventually(
        lambda: [worker["state"] for worker in ada.get("/v1/workers").json()["workers"]],
        lambda states: states.count("busy") == 1,
    )
    assert bob.post("/v1/models", content=program(), timeout=10).status_code == 201
    assert bob.post("/v1/models", content=fake_model(), timeout=10).status_code == 201
    assert ada.post("/v1/models", content=fake_model(name="b"), timeout=10).status_code == 201


def test_a_priority_above_the_keys_is_refused(owners: tuple[httpx.Client, httpx.Client]) -> None:
    ada, _ = owners
    model = ada.post("/v1/models", content=fake_model()).json()["id"]
    answer = ada.post("/v1/jobs", json={"model": model, "priority": 6})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (403, "#/priority")
    assert "up to 5" in answer.json()["detail"]
    assert ada.post("/v1/analyze?priority=9", content=fake_model(name="never")).status_code == 403
    assert ada.post("/v1/jobs", json={"model": model, "priority": 5}).status_code == 202


@pytest.mark.parametrize(
    ("request_", "size", "is_quick"),
    [
        ({"methods": ["autolip"], "budget_s": 60}, 4 * 2**20, True),
        ({"methods": ["autolip"], "budget_s": 60}, 100 * 2**20, False),
        ({"methods": ["autolip", "lipsdp"], "budget_s": 60}, 2**20, False),
        ({"methods": "auto", "budget_s": 60}, 2**20, False),
        ({"methods": "auto", "budget_s": 5}, 2**20, True),
        ({"methods": "auto", "budget_s": 60}, 2**10, True),
    ],
)
def test_what_is_expected_to_be_short(request_: dict[str, Any], size: int, is_quick: bool) -> None:
    assert is_quick_analysis(request_, 600, size, 10) is is_quick


def test_cheap_methods_exist_and_small_files_have_less_time() -> None:
    assert {method.name for method in METHODS} >= CHEAP
    assert reading_limit(1000, 120) == pytest.approx(30, abs=0.1)
    assert reading_limit(2**31, 120) == 120
