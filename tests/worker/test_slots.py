"""A slot's child: when it is replaced, by which, and when its device rests; what an outage of the database changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import eventually
from tests.worker.benches import GPU, Bench

Benches = Callable[..., Bench]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Benches]:
    made: list[Bench] = []

    def make(**settings: Any) -> Bench:
        made.append(Bench(tmp_path, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_program_gets_a_child_of_its_own_and_the_bounding_child_stays(bench: Benches) -> None:
    slot = bench()
    bounding, capturing = [], []
    for number, (tenant, is_program) in enumerate([("a", False), ("b", False), ("a", True), ("b", True), ("b", False)]):
        assert slot.run(tenant, is_program=is_program, number=number)["status"] == "succeeded"
        bounding.append(slot.pid)
        capturing.append(slot.capturing_pid)
    assert len({*bounding}) == 1, "it holds data only"
    assert capturing[0] == capturing[1] is not None, "ONNX is data, too"
    assert capturing[2:4] == [None, None], "after a program its child is killed"
    assert capturing[4] not in (None, capturing[0])


@pytest.mark.parametrize("step", ["inspect", "capture"])
def test_a_program_that_fails_takes_its_child_along(bench: Benches, step: str) -> None:
    slot = bench()
    failing = {step: {"do": "refuse", "slug": "invalid-model", "detail": "no"}}
    assert slot.run(is_program=True, **failing)["status"] == ("succeeded" if step == "inspect" else "failed")
    assert slot.capturing_pid is None


def test_a_second_question_does_not_read_the_model_again(bench: Benches) -> None:
    slot = bench()
    assert slot.run(number=1)["status"] == "succeeded"
    path = slot.settings.data_dir / "files"
    for file in path.rglob("*"):
        if file.is_file():
            file.unlink()
    assert slot.run_again()["status"] == "succeeded"


def test_a_graph_that_is_of_no_use_any_more_is_captured_again(bench: Benches) -> None:
    slot = bench()
    stale = {"do": "refuse_once", "slug": "invalid-artifact", "detail": "it is of another version"}
    assert slot.run(analyze=stale)["status"] == "failed", "what was captured just now should have been fine"
    assert slot.run_again()["status"] == "succeeded"


def test_the_spare_takes_over_at_once(bench: Benches) -> None:
    slot = bench(warm_spare=True)
    assert slot.run(number=1)["status"] == "succeeded", "which takes the first spare for its capture child"
    first = slot.pid
    spare = slot.around.spare
    assert spare is not None
    waiting = eventually(lambda: spare._child, lambda warm: warm is not None).child.pid
    crash = {"do": "crash", "signal": "SIGSEGV"}
    assert slot.run(analyze=crash)["status"] == "failed"
    start = time.monotonic()
    assert slot.slot.prepare()
    assert time.monotonic() - start < 0.1
    assert slot.pid == waiting != first
    assert slot.run()["status"] == "succeeded"


def test_without_a_spare_a_child_is_started(bench: Benches) -> None:
    slot = bench()
    assert slot.run(analyze={"do": "crash", "signal": "SIGSEGV"})["status"] == "failed"
    assert slot.slot.view().state == "restarting"
    assert slot.run()["status"] == "succeeded"


def test_missing_files_fail_the_job(bench: Benches) -> None:
    slot = bench()
    job = slot.submit()
    for path in (slot.settings.data_dir / "files").rglob("*"):
        if path.is_file():
            path.unlink()
    assert slot.prepared()
    assert slot.slot.run_next()
    row = slot.repository.get("", job)
    assert row is not None
    assert row["error"]["type"] == "urn:lipserve:problem:storage-unavailable"


FAULT = {"do": "refuse", "slug": "analysis-failed", "detail": "AcceleratorError: CUDA error: uncorrectable ECC error"}


def test_a_gpu_rests_after_a_fault(bench: Benches) -> None:
    slot = bench(device=GPU, quarantine_s=1.5)
    assert slot.run()["device"] == "cuda:0"
    assert slot.run(analyze=FAULT)["status"] == "failed"
    assert not slot.slot.prepare()
    view = slot.slot.view()
    assert (view.state, view.pid) == ("quarantined", None)
    assert "ECC" in view.details["reason"]
    assert slot.prepared()
    assert slot.slot.view().state == "idle"


def test_what_a_model_does_to_itself_is_no_fault_of_the_gpu(bench: Benches) -> None:
    slot = bench(device=GPU)
    for detail in ("CUDA error: device-side assert triggered", "CUDA out of memory"):
        slot.run(analyze=FAULT | {"detail": detail})
        assert slot.prepared()
    assert slot.slot.view().state == "idle"


def test_a_gpu_that_kills_every_child_rests(bench: Benches) -> None:
    slot = bench(device=GPU)
    for _ in range(3):
        assert slot.run(analyze={"do": "crash", "signal": "SIGBUS"})["status"] == "failed"
    assert not slot.slot.prepare()
    assert "3 children" in slot.slot.view().details["reason"]


def test_a_cpu_never_rests(bench: Benches) -> None:
    slot = bench()
    for _ in range(4):
        slot.run(analyze={"do": "crash", "signal": "SIGBUS"})
    assert slot.run()["status"] == "succeeded"


def test_a_job_outlives_a_short_outage_of_the_database(bench: Benches) -> None:
    slot = bench(lease_s=5)
    assert slot.run(number=1)["status"] == "succeeded", "so that both children are there"
    pid = slot.pid
    job = slot.submit(analyze={"do": "tick", "times": 30, "every": 0.1})
    thread = threading.Thread(target=slot.slot.run_next)
    thread.start()
    eventually(lambda: slot.repository.get("", job), lambda row: row["progress"])
    slot.outage.is_on = True
    time.sleep(1.5)
    slot.outage.is_on = False
    thread.join(20)
    row = slot.repository.get("", job)
    assert row is not None
    assert (row["status"], row["attempt"], slot.pid) == ("succeeded", 1, pid)
    assert slot.outage.met > 5


def test_a_result_waits_for_the_database(bench: Benches) -> None:
    slot = bench(lease_s=5)
    assert slot.run(number=1)["status"] == "succeeded", "so that both children are there"
    job = slot.submit(analyze={"do": "sleep", "seconds": 0.5})
    thread = threading.Thread(target=slot.slot.run_next)
    thread.start()
    eventually(lambda: slot.repository.get("", job), lambda row: row["status"] == "running")
    slot.outage.is_on = True
    time.sleep(2)
    assert thread.is_alive()
    slot.outage.is_on = False
    thread.join(20)
    row = slot.repository.get("", job)
    assert row is not None
    assert row["status"] == "succeeded"


@pytest.mark.parametrize("seconds", [0.2, pytest.param(60, marks=pytest.mark.slow)])
def test_what_outlasts_the_lease_is_dropped(bench: Benches, seconds: float) -> None:
    slot = bench(lease_s=1.5)
    assert slot.run(number=1)["status"] == "succeeded", "so that both children are there"
    job = slot.submit(analyze={"do": "sleep", "seconds": seconds})
    thread = threading.Thread(target=slot.slot.run_next)
    thread.start()
    eventually(lambda: slot.repository.get("", job), lambda row: row["status"] == "running")
    slot.outage.is_on = True
    start = time.monotonic()
    thread.join(20)
    assert not thread.is_alive()
    assert 1 < time.monotonic() - start < 5
    assert (slot.pid is None) == (seconds == 60), "only a child that still runs the job is killed"
    row = slot.repository.get("", job)
    assert row is not None
    assert row["status"] == "running", "the sweeper moves it on"
