"""The whole way: hostile uploads over HTTP, each refused or failed with its reason, and the next job succeeds."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest

from app.worker.warmup import tiny_model
from tests.conftest import RunningService, eventually
from tests.worker import scripts

INPUTS = {"x": [1, 2]}


def outcome(library_service: RunningService, data: bytes, **request: Any) -> dict[str, Any]:
    job: dict[str, Any] = library_service.analyze(data, inputs=INPUTS, methods=["autolip"], **request).json()
    assert library_service.analyze(tiny_model(), methods=["autolip"]).json()["status"] == "succeeded"
    return job


def test_workers_say_that_they_are_confined(library_service: RunningService) -> None:
    def workers() -> list[dict[str, Any]]:
        return library_service.client.get("/v1/workers").json()["workers"]

    eventually(workers, lambda views: {view["confinement"] for view in views} == {"full"}, within_s=60)


@pytest.mark.slow
def test_honest_programs_run(library_service: RunningService) -> None:
    assert outcome(library_service, scripts.archive(scripts.Honest()))["status"] == "succeeded"


@pytest.mark.slow
@pytest.mark.parametrize("program", [scripts.Reads, scripts.ReadsInAnotherThread])
def test_a_file_of_the_service_is_not_read(library_service: RunningService, program: type) -> None:
    for path in ("/etc/passwd", str(library_service.data_dir / "lipserve.db")):
        job = outcome(library_service, scripts.archive(program(path)))
        assert job["status"] in ("failed", 422)
        detail = str(job.get("error") or job)
        assert any(reason in detail for reason in ("from_file", "ermission denied", "cannot be loaded"))
        assert "root:" not in detail


@pytest.mark.slow
def test_a_file_of_the_service_is_not_overwritten(library_service: RunningService, tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"k" * 64)
    job = outcome(library_service, scripts.archive(scripts.Overwrites(str(target))))
    assert job["status"] == "failed"
    assert target.read_bytes() == b"k" * 64


def test_an_upload_that_acts_when_it_is_loaded_is_refused(library_service: RunningService) -> None:
    before = library_service.files()
    answer = library_service.client.post("/v1/models", content=scripts.archive(scripts.ReadsWhenLoaded("/etc/passwd")))
    assert answer.status_code == 422
    assert "ermission denied" in answer.json()["detail"]
    assert library_service.files() == before


def test_a_loop_without_end_meets_its_time_limit_and_the_next_job_starts_at_once(
    library_service: RunningService,
) -> None:
    job = library_service.analyze(scripts.archive(scripts.NeverEnds()), inputs=INPUTS, timeout_s=1.5).json()
    assert (job["status"], job["error"]["type"]) == ("timed_out", "urn:lipserve:problem:time-limit")
    assert library_service.analyze(tiny_model(), methods=["autolip"]).json()["status"] == "succeeded"


@pytest.mark.slow
def test_growth_without_end_is_out_of_memory(library_service: RunningService) -> None:
    job = outcome(library_service, scripts.archive(scripts.GrowsWithoutEnd()))
    assert (job["status"], job["error"]["type"]) == ("failed", "urn:lipserve:problem:out-of-memory")


def inflating(size: int) -> bytes:
    """A thousand times larger than it looks."""
    buffer = io.BytesIO(scripts.archive(scripts.Honest()))
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{archive.namelist()[0].split('/')[0]}/extra", bytes(size))
    return buffer.getvalue()


def test_an_archive_that_inflates_is_refused_before_it_is_opened(library_service: RunningService) -> None:
    data = inflating(2**27)
    assert len(data) < 2**27 / 500
    answer = library_service.client.post("/v1/models", content=data)
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:lipserve:problem:too-large")


@pytest.mark.slow
def test_an_archive_that_lies_about_its_size_does_no_harm(library_service: RunningService) -> None:
    data = bytearray(inflating(2**27))
    claimed = (2**27).to_bytes(4, "little")
    position = data.find(claimed)
    while position >= 0:
        data[position : position + 4] = (1000).to_bytes(4, "little")
        position = data.find(claimed)
    answer = library_service.client.post("/v1/models", content=bytes(data))
    assert answer.status_code in (201, 422), answer.text
    assert library_service.analyze(tiny_model(), methods=["autolip"]).json()["status"] == "succeeded"
