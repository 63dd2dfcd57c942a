"""Two models compared over HTTP: by ids and as files, the job, its page, and what is refused."""

import json
from typing import Any

import httpx
import numpy as np
import pytest

from tests.conftest import RunningService, fake_model
from tests.lipschitz.onnx_networks import mlp

BOX = {"kind": "box", "lower": -1, "upper": 1}
QUICK = {"methods": ["autolip"], "domain": BOX, "budget_s": 10}


def model(change: float = 0.0, inputs: int = 3) -> bytes:
    draw = np.random.default_rng(0)
    weights = [draw.normal(size=(6, inputs)), draw.normal(size=(3, 6))]
    return mlp([weights[0], weights[1] + change])


def compare(service: RunningService, a: str, b: str, **fields: Any) -> httpx.Response:
    return service.client.post("/v1/comparisons", json={"a": a, "b": b} | fields, headers={"Prefer": "wait=30"})


@pytest.fixture(scope="module")
def pair(library_service: RunningService) -> tuple[str, str]:
    return library_service.upload(model()), library_service.upload(model(1e-3))


def test_two_uploaded_models_are_compared(library_service: RunningService, pair: tuple[str, str]) -> None:
    job = compare(library_service, *pair, gate={"max_difference": 1.0}, **QUICK).json()
    assert job["status"] == "succeeded", job["error"]
    result = job["result"]
    assert 0 < result["difference"]["lower"]["value"] <= result["difference"]["upper"]["value"] < 0.1
    assert result["lipschitz_of_difference"]["upper"]["guarantee"] == "certified"
    assert (result["identical"], result["verdict"]) == (False, "pass")
    assert [layer["name"] for layer in result["layers"]] == ["fc1"]
    assert job["request"]["b"] == pair[1]
    assert job["bracket"]["upper"] == result["difference"]["upper"]["value"]
    assert job["urls"]["witness"]


def test_the_page_tells_the_difference(library_service: RunningService, pair: tuple[str, str]) -> None:
    job = compare(library_service, *pair, gate={"max_difference": 1.0}, **QUICK).json()
    page = library_service.client.get(job["urls"]["report"], headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert "Comparison of two models" in page.text
    assert "fc1" in page.text
    assert library_service.client.get(f"{job['urls']['self']}/report.svg").status_code == 200


def test_two_files_in_one_form(library_service: RunningService) -> None:
    files = {"a": ("a.onnx", model()), "b": ("b.onnx", model()), "request": (None, json.dumps(QUICK))}
    answer = library_service.client.post("/v1/comparisons", files=files, headers={"Prefer": "wait=30"})
    result = answer.json()["result"]
    assert (result["identical"], result["difference"]["upper"]["value"]) == (True, 0.0)
    assert result["estimates"] == []


def test_models_of_other_shapes_are_refused_by_name(library_service: RunningService, pair: tuple[str, str]) -> None:
    other = library_service.upload(model(inputs=4))
    job = compare(library_service, pair[0], other, **QUICK).json()
    assert job["status"] == "failed"
    assert job["error"]["type"] == "urn:lipserve:problem:incomparable-models"
    assert "[[1, 3]]" in job["error"]["detail"]
    assert "[[1, 4]]" in job["error"]["detail"]


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"b": "0" * 64}, 404, "0" * 64),
        ({"b": "x"}, 422, "b"),
        ({"target": {"kind": "logit", "index": 0}}, 422, "target"),
        ({"gate": {"max_upper": 1.0}}, 422, "max_upper"),
        ({"gate": {"min_kept_share": 0.5}}, 422, "dataset"),
        ({"radius": -1}, 422, "radius"),
    ],
)
def test_what_is_refused(service: RunningService, fields: dict[str, Any], status: int, said: str) -> None:
    known = service.upload(fake_model(test="compared"))
    answer = service.client.post("/v1/comparisons", json={"a": known, "b": known} | fields)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert said in answer.text


@pytest.mark.parametrize("gate", [{"max_difference": 1.0}, {"min_kept_share": 0.5}])
def test_an_analysis_has_no_limits_of_two(service: RunningService, gate: dict[str, float]) -> None:
    known = service.upload(fake_model(test="alone"))
    assert service.client.post("/v1/jobs", json={"model": known, "gate": gate}).status_code == 422


@pytest.mark.parametrize("names", [("b", "a"), ("a",), ("a", "a"), ("a", "file")])
def test_forms_without_a_pair_are_refused(service: RunningService, names: tuple[str, ...]) -> None:
    files = [(name, ("m.onnx", fake_model(test="pair"))) for name in names]
    assert service.client.post("/v1/comparisons", files=files).status_code in (400, 415, 422)


def test_a_model_in_use_as_the_second_is_not_deleted(service: RunningService) -> None:
    slow = service.upload(fake_model(capture={"do": "sleep", "seconds": 20}, test="first"))
    other = service.upload(fake_model(test="second"))
    job = service.client.post("/v1/comparisons", json={"a": slow, "b": other}).json()
    assert service.client.delete(f"/v1/models/{other}").status_code == 409
    service.client.post(job["urls"]["cancel"])
    assert service.finished(job["id"])["status"] == "canceled"
    assert service.client.delete(f"/v1/models/{other}").status_code == 204
