"""How jobs end: by themselves, by refusal, by a crash, at the time limit, by a cancel."""

import time
from typing import Any

import pytest

from tests.conftest import RunningService, eventually, fake_model


def failed(service: RunningService, step: dict[str, Any], slug: str) -> str:
    """Run the step, expect that problem in the job's error, and return its detail."""
    job = service.analyze(fake_model(analyze=step)).json()
    error = job["error"]
    assert (job["status"], error["type"]) == ("failed", f"urn:lipserve:problem:{slug}")
    assert error["instance"] == job["urls"]["self"]
    assert job["result"] is None
    return str(error["detail"])


@pytest.mark.parametrize("slug", ["unsupported-operator", "not-globally-lipschitz", "invalid-inputs"])
def test_a_refusal_keeps_its_slug_and_words(service: RunningService, slug: str) -> None:
    step = {"do": "refuse", "slug": slug, "detail": "Foo at 'node_3'"}
    assert failed(service, step, slug) == "Foo at 'node_3'"


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGKILL", "SIGBUS"])
def test_a_crash_is_named_at_once(service: RunningService, name: str) -> None:
    start = time.monotonic()
    assert name in failed(service, {"do": "crash", "signal": name}, "worker-crashed")
    assert time.monotonic() - start < 5


def test_an_exit_is_named(service: RunningService) -> None:
    assert "status 7" in failed(service, {"do": "leave", "status": 7}, "worker-crashed")


def test_memory_is_told_apart(service: RunningService) -> None:
    assert "memory" in failed(service, {"do": "exhaust"}, "out-of-memory")


def test_a_defect_is_an_analysis_failure(service: RunningService) -> None:
    assert failed(service, {"do": "blunder"}, "analysis-failed") == "ZeroDivisionError: a defect"


def test_what_is_no_message_stops_the_child(service: RunningService) -> None:
    failed(service, {"do": "babble"}, "worker-protocol")


def test_a_result_that_json_cannot_carry_is_a_failure(service: RunningService) -> None:
    job = service.analyze(fake_model(infinite=True)).json()
    assert (job["status"], job["error"]["type"]) == ("failed", "urn:lipserve:problem:analysis-failed")


def test_what_libraries_print_is_no_message(service: RunningService) -> None:
    assert service.analyze(fake_model(analyze={"do": "print_much"})).json()["status"] == "succeeded"


def test_the_child_stays_warm_between_jobs(service: RunningService) -> None:
    pids = {service.analyze(fake_model(test="warm", index=i)).json()["result"]["pid"] for i in range(3)}
    assert len(pids) == 1


@pytest.mark.parametrize("do", ["sleep", "sleep_in_native_code"])
def test_a_time_limit_is_kept(service: RunningService, do: str) -> None:
    start = time.monotonic()
    job = service.analyze(fake_model(analyze={"do": do, "seconds": 50}), timeout_s=0.5).json()
    assert 0.5 <= time.monotonic() - start < 3
    assert (job["status"], job["error"]["type"]) == ("timed_out", "urn:lipserve:problem:time-limit")
    assert "0.5 s" in job["error"]["detail"]


def test_a_cancel_works_inside_a_native_call(service: RunningService) -> None:
    data = fake_model(analyze={"do": "sleep_in_native_code", "seconds": 51})
    job = service.analyze(data, wait=None).json()
    eventually(lambda: service.client.get(job["urls"]["self"]).json()["status"], lambda s: s == "running")
    pids = worker_pids(service)
    start = time.monotonic()
    assert service.client.post(job["urls"]["cancel"]).json()["status"] in ("canceling", "canceled")
    assert service.finished(job["id"])["status"] == "canceled"
    assert time.monotonic() - start < 0.5
    eventually(lambda: worker_pids(service), lambda now: now != pids)


def test_higher_priorities_run_first(service: RunningService) -> None:
    busy = service.analyze(fake_model(analyze={"do": "sleep", "seconds": 1}), wait=None).json()
    model = service.upload(fake_model(test="priorities"))
    jobs = [
        service.client.post("/v1/jobs", json={"model": model, "seed": seed, "priority": priority}).json()
        for seed, priority in enumerate((1, 9, 5, 9))
    ]
    service.finished(busy["id"])
    started = [service.finished(job["id"])["started_at"] for job in jobs]
    assert sorted(range(4), key=lambda index: started[index]) == [1, 3, 2, 0]


def worker_pids(service: RunningService) -> list[int]:
    return [worker["pid"] for worker in service.client.get("/v1/workers").json()["workers"]]
