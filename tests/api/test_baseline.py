"""A gate against another model's bound."""

from typing import Any

import numpy as np
import pytest

from tests.conftest import RunningService, fake_model
from tests.lipschitz.onnx_networks import mlp


def model(factor: float) -> bytes:
    return mlp([factor * np.eye(2)])


def analyzed(service: RunningService, factor: float, gate: dict[str, Any]) -> dict[str, Any]:
    asked = {"model": service.upload(model(factor)), "methods": ["autolip", "gradient"], "budget_s": 10, "gate": gate}
    job: dict[str, Any] = service.client.post("/v1/jobs", json=asked, headers={"Prefer": "wait=30"}).json()
    return job


@pytest.mark.parametrize(("factor", "verdict"), [(2.0, "pass"), (2.19, "pass"), (2.5, "fail")])
def test_the_bound_may_grow_by_so_much(library_service: RunningService, factor: float, verdict: str) -> None:
    baseline = library_service.upload(model(2.0))
    job = analyzed(library_service, factor, {"baseline": baseline, "max_increase": 1.1})
    assert job["status"] == "succeeded", job["error"]
    assert job["result"]["verdict"] == verdict
    assert job["result"]["baseline"]["limit"] == pytest.approx(2.2)
    assert library_service.client.get(job["urls"]["report"]).status_code == 200


def test_other_limits_hold_too(library_service: RunningService) -> None:
    baseline = library_service.upload(model(2.0))
    job = analyzed(library_service, 2.0, {"baseline": baseline, "max_increase": 1.1, "max_upper": 1.0})
    assert job["result"]["verdict"] == "fail"


def test_a_baseline_that_is_not_there_is_named(service: RunningService) -> None:
    known = service.upload(fake_model(test="baseline"))
    gate = {"baseline": "1" * 64, "max_increase": 1.1}
    answer = service.client.post("/v1/jobs", json={"model": known, "gate": gate})
    assert answer.status_code == 404
    assert "1" * 64 in answer.json()["detail"]


@pytest.mark.parametrize("gate", [{"baseline": "1" * 64}, {"max_increase": 1.1}])
def test_both_belong_together(service: RunningService, gate: dict[str, Any]) -> None:
    known = service.upload(fake_model(test="alone"))
    assert service.client.post("/v1/jobs", json={"model": known, "gate": gate}).status_code == 422
