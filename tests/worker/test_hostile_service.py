"""The whole way: hostile uploads over HTTP, each refused or failed with its reason, and the next job succeeds."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.worker.warmup import tiny_model
from tests.conftest import RunningService, eventually
from tests.worker import scripts

INPUTS = {"x": [1, 2]}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    data = tmp_path_factory.mktemp("hostile") / "data"
    running = RunningService(data, worker_module="app.worker", job_memory_bytes=2**30, max_unpacked_bytes=2**26)
    running.start()
    yield running
    running.stop()


def outcome(real: RunningService, data: bytes, **request: Any) -> dict[str, Any]:
    job: dict[str, Any] = real.analyze(data, inputs=INPUTS, methods=["autolip"], **request).json()
    assert real.analyze(tiny_model(), methods=["autolip"]).json()["status"] == "succeeded"
    return job


def test_workers_say_that_they_are_confined(real: RunningService) -> None:
    def workers() -> list[dict[str, Any]]:
        return real.client.get("/v1/workers").json()["workers"]

    eventually(workers, lambda views: {view["confinement"] for view in views} == {"full"}, within_s=60)


def test_honest_programs_run(real: RunningService) -> None:
    assert outcome(real, scripts.archive(scripts.Honest()))["status"] == "succeeded"


@pytest.mark.slow
@pytest.mark.parametrize("program", [scripts.Reads, scripts.ReadsInAnotherThread])
def test_a_file_of_the_service_is_not_read(real: RunningService, program: type) -> None:
    for path in ("/etc/passwd", str(real.data_dir / "lipserve.db")):
        job = outcome(real, scripts.archive(program(path)))
        assert job["status"] == "failed"
        assert "ermission denied" in job["error"]["detail"]


def test_a_file_of_the_service_is_not_overwritten(real: RunningService, tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"k" * 64)
    job = outcome(real, scripts.archive(scripts.Overwrites(str(target))))
    assert job["status"] == "failed"
    assert target.read_bytes() == b"k" * 64


def test_an_upload_that_acts_when_it_is_loaded_is_refused(real: RunningService) -> None:
    before = real.files()
    answer = real.client.post("/v1/models", content=scripts.archive(scripts.ReadsWhenLoaded("/etc/passwd")))
    assert answer.status_code == 422
    assert "ermission denied" in answer.json()["detail"]
    assert real.files() == before


def test_a_loop_without_end_meets_its_time_limit_and_the_next_job_starts_at_once(real: RunningService) -> None:
    job = real.analyze(scripts.archive(scripts.NeverEnds()), inputs=INPUTS, timeout_s=1.5).json()
    assert (job["status"], job["error"]["type"]) == ("timed_out", "urn:lipserve:problem:time-limit")
    assert real.analyze(tiny_model(), methods=["autolip"]).json()["status"] == "succeeded"


@pytest.mark.slow
def test_growth_without_end_is_out_of_memory(real: RunningService) -> None:
    job = outcome(real, scripts.archive(scripts.GrowsWithoutEnd()))
    assert (job["status"], job["error"]["type"]) == ("failed", "urn:lipserve:problem:out-of-memory")


def inflating(size: int) -> bytes:
    """A thousand times larger than it looks."""
    buffer = io.BytesIO(scripts.archive(scripts.Honest()))
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{archive.namelist()[0].split('/')[0]}/extra", bytes(size))
    return buffer.getvalue()


def test_an_archive_that_inflates_is_refused_before_it_is_opened(real: RunningService) -> None:
    data = inflating(2**27)
    assert len(data) < 2**27 / 500
    answer = real.client.post("/v1/models", content=data)
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:lipserve:problem:too-large")


@pytest.mark.slow
def test_an_archive_that_lies_about_its_size_does_no_harm(real: RunningService) -> None:
    data = bytearray(inflating(2**27))
    claimed = (2**27).to_bytes(4, "little")
    position = data.find(claimed)
    while position >= 0:
        data[position : position + 4] = (1000).to_bytes(4, "little")
        position = data.find(claimed)
    answer = real.client.post("/v1/models", content=bytes(data))
    assert answer.status_code in (201, 422), answer.text
    assert real.analyze(tiny_model(), methods=["autolip"]).json()["status"] == "succeeded"
