"""A service whose jobs end with the result that the uploaded file tells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import RunningService, fake_model


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """One service for all tests of pages, with the fake library."""
    settings: dict[str, Any] = {"worker_module": "tests.pages.told_worker", "progress_s": 0.05, "sweep_s": 5}
    running = RunningService(tmp_path_factory.mktemp("pages") / "data", **settings)
    running.start()
    yield running
    running.stop()


def answered(service: RunningService, result: dict[str, Any], name: str = "m.onnx", **request: Any) -> dict[str, Any]:
    """A finished job with that result."""
    model = service.upload(fake_model(result=result), name)
    body = {"model": model} | request
    return service.client.post("/v1/jobs", json=body, headers={"Prefer": "wait=30"}).json()
