"""A service whose jobs end with the result that the uploaded file tells."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.settings import Settings
from app.store.database import Database
from app.store.keys import KeyRepository, Scope
from tests.conftest import RunningService, fake_model


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """One service for all tests of pages, with the fake library."""
    settings: dict[str, Any] = {"worker_module": "tests.pages.told_worker", "progress_s": 0.05}
    running = RunningService(tmp_path_factory.mktemp("pages") / "data", **settings)
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningService, str]]:
    """A service with one key, and the key."""
    service = RunningService(tmp_path_factory.mktemp("keyed") / "data")
    service.start()
    database = Database(Settings(data_dir=Path(service.data_dir)).sqlalchemy_url())
    _, secret = KeyRepository(database).create("ada", {Scope.READ, Scope.WRITE})
    database.close()
    yield service, secret
    service.stop()


def answered(service: RunningService, result: dict[str, Any], name: str = "m.onnx", **request: Any) -> dict[str, Any]:
    """A finished job with that result."""
    model = service.upload(fake_model(result=result), name)
    body = {"model": model} | request
    return service.client.post("/v1/jobs", json=body, headers={"Prefer": "wait=30"}).json()
