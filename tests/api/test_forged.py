"""What a child forges never gets further than its own job: lists, jobs, reports and events stay as they are."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.conftest import RunningService, fake_model

TENSOR = {"name": "x", "datatype": "FP32", "shape": [1]}
FACTS: dict[str, Any] = {"format": "onnx", "inputs": [TENSOR], "outputs": [TENSOR], "parameters": 1} | {
    "operators": {},
    "unsupported": [],
    "warnings": [],
}

INSPECTIONS = {
    "nothing": {},
    "other types": FACTS | {"inputs": "x", "parameters": "many"},
    "no name": FACTS | {"inputs": [{"shape": [1]}]},
    "half a surrogate pair": '{"format": "\\ud800"}',
    "NUL": '{"format": "\\u0000"}',
    "a huge number": FACTS | {"parameters": 10**400},
    "deep nesting": "[" * 50_000,
}


@pytest.mark.parametrize("forged", INSPECTIONS)
def test_a_forged_inspection_is_no_model(service: RunningService, forged: str) -> None:
    data = fake_model(forged=forged, inspect={"do": "say", "kind": "inspection", "body": INSPECTIONS[forged]})
    answer = service.client.post("/v1/models", content=data)
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (422, "invalid-model")
    assert service.client.get("/v1/models").status_code == 200


RESULTS = {
    "nothing": {},
    "other types": {"upper": 1, "layers": "x", "estimates": [1]},
    "half a surrogate pair": '{"warnings": ["\\ud800"]}',
    "infinity": '{"upper": {"value": 1e999}}',
}


@pytest.mark.parametrize("forged", RESULTS)
def test_a_forged_result_fails_its_job(service: RunningService, forged: str) -> None:
    step = {"do": "say", "kind": "result", "body": RESULTS[forged]}
    job = service.analyze(fake_model(forged=forged, analyze=step)).json()
    assert (job["status"], job["error"]["type"].rpartition(":")[2]) == ("failed", "worker-protocol")
    assert service.client.get(f"/v1/jobs/{job['id']}/report").status_code == 200
    assert service.client.get("/v1/jobs").status_code == 200
    assert service.analyze(fake_model(after=forged)).json()["status"] == "succeeded"


def test_reports_without_end_do_not_fill_the_database(service: RunningService) -> None:
    step = {"do": "say", "kind": "progress", "body": {"phase": "x" * 256}, "times": 10**9}
    start = time.monotonic()
    job = service.analyze(fake_model(analyze=step), timeout_s=2.5).json()
    assert job["status"] == "timed_out"
    assert time.monotonic() - start < 10
    events = service.client.get(job["urls"]["events"])
    assert len(events.content) < 20_000


def test_a_long_report_breaks_the_protocol(service: RunningService) -> None:
    step = {"do": "say", "kind": "progress", "body": {"phase": "x" * 10**6}}
    job = service.analyze(fake_model(analyze=step)).json()
    assert job["error"]["type"].rpartition(":")[2] == "worker-protocol"
    assert len(service.client.get(job["urls"]["events"]).content) < 20_000
