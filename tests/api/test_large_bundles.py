"""A bundle of gigabytes goes through the service's own process in pieces: its memory does not grow with the file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import RunningService, fake_model

MIB = 2**20
SIZE = int(os.environ.get("LARGE_BUNDLE_MIB", "256")) * MIB
ALLOWED = 64 * MIB
"""Growth of the largest resident set, whatever the file's size: buffers, and what a first upload loads."""


@pytest.fixture
def roomy(tmp_path: Path) -> Iterator[RunningService]:
    running = RunningService(tmp_path / "data", max_upload_bytes=2**32)
    running.start()
    yield running
    running.stop()


def most_resident(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


@pytest.mark.slow
def test_memory_stays_flat_while_a_large_bundle_is_uploaded_and_answered(roomy: RunningService, tmp_path: Path) -> None:
    weights = tmp_path / "net.onnx.data"
    with weights.open("wb") as file:
        file.truncate(SIZE)
    roomy.upload(fake_model(test="first"))
    before = most_resident(roomy.pid)
    with weights.open("rb") as file:
        parts = [("file", ("net.onnx", fake_model(test="large"))), ("file", ("net.onnx.data", file))]
        answer = roomy.client.post("/v1/models", files=parts, timeout=600)
    assert answer.status_code == 201, answer.text
    assert answer.json()["size_bytes"] > SIZE
    job = roomy.client.post("/v1/jobs", json={"model": answer.json()["id"], "methods": ["autolip"]}).json()
    assert roomy.finished(job["id"], 300)["status"] == "succeeded"
    grown = most_resident(roomy.pid) - before
    print(f"{SIZE // MIB} MiB uploaded and answered, the service's process grew by {grown / MIB:.1f} MiB")
    assert grown < ALLOWED
