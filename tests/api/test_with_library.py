"""The whole way with the real library: HTTP, store, child, numbers, witness."""

import io

import numpy as np
import pytest

from app.worker.warmup import tiny_model
from tests.conftest import RunningService


def test_a_bracket_with_layers_and_witness(library_service: RunningService) -> None:
    job = library_service.analyze(tiny_model(), methods=["autolip", "gradient"]).json()
    assert job["status"] == "succeeded", job["error"]
    result = job["result"]
    assert result["upper"]["guarantee"] == "certified"
    assert result["lower"]["guarantee"] == "witnessed"
    assert result["lower"]["value"] <= 1 <= result["upper"]["value"] <= 1 + 1e-6
    assert [layer["name"] for layer in result["layers"] if layer["op"] == "Gemm"] == ["first", "last"]
    with np.load(io.BytesIO(library_service.client.get(job["urls"]["witness"]).content), allow_pickle=False) as witness:
        x, y = (witness[f"{point}.x"] @ [[0, 1], [1, 0]] for point in "xy")
        slope = np.linalg.norm(np.maximum(x, 0) - np.maximum(y, 0)) / np.linalg.norm(x - y)
    assert slope >= result["lower"]["value"] * (1 - 1e-9)


def test_the_model_record_is_read_from_the_file(library_service: RunningService) -> None:
    model = library_service.client.get(f"/v1/models/{library_service.upload(tiny_model())}").json()
    assert (model["format"], model["parameters"]) == ("onnx", 4)
    assert model["operators"] == {"Gemm": 2, "Relu": 1}
    assert model["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [1, 2]}]


def test_a_truncated_file_is_refused_and_leaves_nothing(library_service: RunningService) -> None:
    before = library_service.files()
    answer = library_service.client.post("/v1/models", content=tiny_model()[:-30])
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:lipserve:problem:invalid-model")
    assert library_service.files() == before


@pytest.mark.slow
def test_an_input_that_does_not_fit_is_named(library_service: RunningService) -> None:
    job = library_service.analyze(tiny_model(), inputs={"x": [1, 3]}).json()
    assert (job["status"], job["error"]["status"]) == ("failed", 422)
    assert job["error"]["type"] == "urn:lipserve:problem:invalid-inputs"


def test_a_data_set_gives_a_lower_bound_and_a_centre(library_service: RunningService) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([[0.5, 0.25], [1.0, 2.0]], dtype=np.float32))
    dataset = library_service.client.post("/v1/datasets", content=buffer.getvalue()).json()["id"]
    ball = {"kind": "ball", "center": "dataset#1", "radius": 0.1}
    job = library_service.analyze(tiny_model(), methods=["autolip", "dataset"], dataset=dataset, domain=ball).json()
    assert job["status"] == "succeeded", job["error"]
    assert job["result"]["lower"]["method"] == "dataset"
    assert job["result"]["lower"]["value"] == pytest.approx(1.0, rel=1e-6)
    assert job["result"]["estimates"][1]["details"] == {"points": 1, "outside": 1, "paired": 1}
    buffer = io.BytesIO()
    np.save(buffer, np.ones((2, 3)))
    misfit = library_service.client.post("/v1/datasets", content=buffer.getvalue()).json()["id"]
    failed = library_service.analyze(tiny_model(), methods=["dataset"], dataset=misfit).json()
    assert failed["error"]["type"] == "urn:lipserve:problem:invalid-request"
    assert "do not fit the model" in failed["error"]["detail"]


def test_a_certificate_can_be_checked(library_service: RunningService) -> None:
    from app.lipschitz.files import verify

    model = tiny_model()
    job = library_service.analyze(model, methods=["autolip", "lipsdp"]).json()
    answer = verify(model, library_service.client.get(job["urls"]["certificate"]).content)
    assert answer["valid"], answer["reasons"]
    assert answer["bound"] <= job["result"]["upper"]["value"] * (1 + 1e-9)


def test_labelled_rows_get_radii_and_a_verdict(library_service: RunningService) -> None:
    """The tiny model is relu, so about (3, 1) the prediction holds until both entries meet: sqrt(2) away."""
    buffer = io.BytesIO()
    np.savez(buffer, inputs=np.array([[3.0, 1.0], [1.0, 3.0]]), labels=np.array([0, 0]))
    dataset = library_service.client.post("/v1/datasets", content=buffer.getvalue()).json()["id"]
    gate = {"min_certified_share": 0.4, "radius": 1.0}
    job = library_service.analyze(
        tiny_model(), methods=["autolip", "lipsdp"], target={"kind": "margins"}, dataset=dataset, gate=gate
    ).json()
    assert job["status"] == "succeeded", job["error"]
    ((i, j, constant),) = job["result"]["estimates"][0]["details"]["pairs"]
    assert (i, j, constant) == (0, 1, pytest.approx(2**0.5))
    first, second = job["result"]["certificates"]
    assert {first["prediction"], second["prediction"]} == {0, 1}
    assert first["radius"] == pytest.approx(2**0.5, rel=0.02)
    assert first["radius"] <= 2**0.5
    assert job["result"]["verdict"] == "pass"
