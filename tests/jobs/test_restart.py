"""What is acknowledged is done once, however the service ends."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.conftest import RunningService, eventually, fake_model

Start = Callable[..., RunningService]


def submit_eleven(service: RunningService, ledger: Path) -> list[str]:
    """One job that runs and ten short ones that wait; each writes its seed into the ledger when it ends."""
    running, waiting = (
        service.upload(fake_model(analyze={"do": "sleep", "seconds": seconds}, ledger=str(ledger)))
        for seconds in (3.0, 0.05)  # long enough to be seen and killed on a busy machine
    )
    models = [running, *[waiting] * 10]
    jobs = [
        service.client.post("/v1/jobs", json={"model": model, "seed": seed}).json() for seed, model in enumerate(models)
    ]
    first = f"/v1/jobs/{jobs[0]['id']}"
    eventually(lambda: service.client.get(first).json()["status"], lambda status: status == "running")
    return [job["id"] for job in jobs]


def test_all_jobs_finish_once_after_a_kill_of_the_whole_group(start_service: Start, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    service = start_service()
    jobs = submit_eleven(service, ledger)
    children = [worker["pid"] for worker in service.client.get("/v1/workers").json()["workers"]]
    service.kill()
    eventually(lambda: [pid for pid in children if is_running(pid)], lambda left: not left, within_s=2)
    start = time.monotonic()
    service.start()
    first = eventually(lambda: service.client.get(f"/v1/jobs/{jobs[0]}").json(), lambda job: job["status"] != "queued")
    assert time.monotonic() - start < 5
    assert first["attempt"] == 2
    finished = [service.finished(job) for job in jobs]
    assert {job["status"] for job in finished} == {"succeeded"}
    assert [job["attempt"] for job in finished] == [2] + [1] * 10
    assert sorted(int(seed) for seed in ledger.read_text().split()) == list(range(11))


@pytest.mark.slow
def test_a_graceful_end_puts_the_running_job_back(start_service: Start, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    service = start_service()
    jobs = submit_eleven(service, ledger)
    start = time.monotonic()
    service.terminate()
    assert "Application shutdown complete" in service.log()
    assert time.monotonic() - start < 5
    service.start()
    assert {service.finished(job)["status"] for job in jobs} == {"succeeded"}
    assert sorted(int(seed) for seed in ledger.read_text().split()) == list(range(11))


@pytest.mark.slow
def test_a_job_is_not_retried_for_ever(start_service: Start) -> None:
    service = start_service(max_losses=1)
    job = service.analyze(fake_model(analyze={"do": "sleep", "seconds": 60}), wait=None).json()
    for _ in range(2):
        eventually(lambda: service.client.get(job["urls"]["self"]).json()["status"], lambda s: s == "running")
        service.kill()
        service.start()
    lost = service.finished(job["id"])
    assert (lost["status"], lost["error"]["type"]) == ("failed", "urn:lipserve:problem:worker-lost")
    assert "2 times" in lost["error"]["detail"]


@pytest.mark.slow
def test_a_cancel_survives_a_kill(start_service: Start) -> None:
    service = start_service()
    job = service.analyze(fake_model(analyze={"do": "sleep", "seconds": 60}), wait=None).json()
    eventually(lambda: service.client.get(job["urls"]["self"]).json()["status"], lambda s: s == "running")
    service.client.post(job["urls"]["cancel"])
    service.kill()
    service.start()
    assert service.finished(job["id"])["status"] == "canceled"


def test_models_and_results_survive_and_half_an_upload_does_not(start_service: Start) -> None:
    service = start_service()
    job = service.analyze(fake_model(test="survives")).json()
    kept = service.files()
    slow = fake_model(inspect={"do": "sleep", "seconds": 60})
    upload = threading.Thread(target=interrupted_upload, args=(service, slow))
    upload.start()
    eventually(service.files, lambda files: len(files) > len(kept))
    service.kill()
    upload.join()
    service.start()
    assert service.files() == kept
    again = service.client.get(job["urls"]["self"]).json()
    assert again == job


@pytest.mark.slow
def test_two_services_share_one_directory(start_service: Start, tmp_path: Path) -> None:
    first = start_service()
    second = start_service()
    ledger = tmp_path / "ledger"
    jobs = submit_eleven(first, ledger)
    first.kill()
    assert {second.finished(job)["status"] for job in jobs} == {"succeeded"}
    assert sorted(int(seed) for seed in ledger.read_text().split()) == list(range(11))


def interrupted_upload(service: RunningService, data: bytes) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.post(f"{service.url}/v1/models", content=data, timeout=60)


def is_running(pid: int) -> bool:
    """Whether it does more than wait to be buried: this process adopts orphans once it has had children itself."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
