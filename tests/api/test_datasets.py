"""Data sets in and out over HTTP: what is kept, what is refused and leaves nothing, and what jobs make of them."""

import hashlib
import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.api.test_models import refused
from tests.conftest import RunningService, fake_model

RNG = np.random.default_rng(0)


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=array.dtype == object)
    return buffer.getvalue()


def npz(compressed: bool = False, **arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **arrays)
    return buffer.getvalue()


def header(descr: str, shape: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text + data


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def stored(service: RunningService) -> set[Path]:
    return {path for path in (service.data_dir / "datasets").rglob("*") if path.is_file()}


def post(service: RunningService, data: bytes) -> httpx.Response:
    return service.client.post("/v1/datasets", files={"file": ("dir/points.npz", data)})


def test_a_form_makes_a_data_set_once(service: RunningService) -> None:
    data = npz(inputs=RNG.standard_normal((5, 2)), labels=np.arange(5, dtype=np.int32))
    first, again = post(service, data), post(service, data)
    assert (first.status_code, again.status_code) == (201, 200)
    digest = hashlib.sha256(data).hexdigest()
    assert first.headers["Location"] == f"/v1/datasets/{digest}"
    body = first.json()
    assert body == again.json() == service.client.get(f"/v1/datasets/{digest}").json()
    assert body.pop("created_at").endswith("Z")
    assert body == {
        "id": digest,
        "name": "points.npz",
        "size_bytes": len(data),
        "inputs": {"datatype": "FP64", "shape": [5, 2]},
        "labels": {"datatype": "INT32", "shape": [5]},
    }
    assert digest in [entry["id"] for entry in service.client.get("/v1/datasets").json()["datasets"]]
    assert service.client.head(f"/v1/datasets/{digest}").status_code == 200
    assert service.client.delete(f"/v1/datasets/{digest}").status_code == 204
    assert service.client.head(f"/v1/datasets/{digest}").status_code == 404
    assert not [path for path in stored(service) if path.name == digest]


@pytest.mark.parametrize(
    ("array", "datatype"),
    [
        (np.zeros((3, 2), np.float32), "FP32"),
        (np.zeros((3, 1, 2), np.uint8), "UINT8"),
        (np.zeros((3, 2), ">i8"), "INT64"),
        (np.asfortranarray(RNG.standard_normal((3, 2)).astype(np.float16)), "FP16"),
    ],
    ids=["float32", "uint8", "big-endian", "fortran"],
)
def test_a_raw_npy_body_is_a_data_set_without_labels(service: RunningService, array: np.ndarray, datatype: str) -> None:
    answer = service.client.post("/v1/datasets?name=rows.npy", content=npy(array))
    assert answer.status_code in (200, 201), answer.text
    body = answer.json()
    assert (body["name"], body["labels"]) == ("rows.npy", None)
    assert body["inputs"] == {"datatype": datatype, "shape": list(array.shape)}


REFUSED: dict[str, tuple[bytes, int, str]] = {
    "text": (b"hello", 415, "not-a-dataset"),
    "empty": (b"", 415, "not-a-dataset"),
    "pickle": (b"\x80\x04]\x94.", 415, "not-a-dataset"),
    "a model": (fake_model(), 415, "not-a-dataset"),
    "objects": (npy(np.array([[{}], [1]], dtype=object)), 422, "invalid-dataset"),
    "objects in a zip": (zipped(inputs=npy(np.array([[{}]], dtype=object))), 422, "invalid-dataset"),
    "complex": (npy(np.zeros((2, 2), complex)), 422, "invalid-dataset"),
    "strings": (npy(np.array([["a"]])), 422, "invalid-dataset"),
    "booleans": (npy(np.array([[True]])), 422, "invalid-dataset"),
    "records": (npy(np.zeros((2, 2), [("a", "<f8")])), 422, "invalid-dataset"),
    "one axis": (npy(np.zeros(3)), 422, "invalid-dataset"),
    "no axis": (npy(np.float64(1)), 422, "invalid-dataset"),
    "no rows": (npy(np.zeros((0, 3))), 422, "invalid-dataset"),
    "cut": (npy(np.zeros((3, 2)))[:-1], 422, "invalid-dataset"),
    "too long": (npy(np.zeros((3, 2))) + b"\0", 422, "invalid-dataset"),
    "header only": (b"\x93NUMPY", 422, "invalid-dataset"),
    "no literal": (header("__import__('os')", "(1, 1)", bytes(8)), 422, "invalid-dataset"),
    "deep literal": (b"\x93NUMPY\x01\x00" + struct.pack("<H", 9000) + b"(" * 9000, 422, "invalid-dataset"),
    "negative": (header("'<f8'", "(-1, -1)", bytes(8)), 422, "invalid-dataset"),
    "promises much": (header("'<f8'", "(1000000000, 1000000000)", bytes(8)), 422, "invalid-dataset"),
    "version 3": (header("'<f8'", "(1, 1)", bytes(8), b"\x03\x00"), 422, "invalid-dataset"),
    "no inputs": (npz(x=np.zeros((2, 2))), 422, "invalid-dataset"),
    "two labels a row": (npz(inputs=np.zeros((2, 2)), labels=np.zeros((2, 2), int)), 422, "invalid-dataset"),
    "too few labels": (npz(inputs=np.zeros((2, 2)), labels=np.zeros(1, int)), 422, "invalid-dataset"),
    "labels are floats": (npz(inputs=np.zeros((2, 2)), labels=np.zeros(2)), 422, "invalid-dataset"),
    "zip without directory": (npz(inputs=np.zeros((2, 2)))[:-40], 422, "invalid-dataset"),
    "zip bomb": (npz(compressed=True, inputs=np.zeros((2**12, 2**6))), 413, "too-large"),
    "bomb beside the inputs": (zipped(inputs=npy(np.zeros((2, 2))), x=bytes(2**21)), 413, "too-large"),
    "large as float64": (npy(np.zeros((2**9, 2**9), np.uint8)), 413, "too-large"),
    "large file": (npy(np.zeros((2**9, 2**9))), 413, "too-large"),
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Any:
    running = RunningService(tmp_path_factory.mktemp("small") / "data", max_dataset_bytes=2**20)
    running.start()
    yield running
    running.stop()


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_refused_and_leaves_nothing(small: RunningService, name: str) -> None:
    data, status, slug = REFUSED[name]
    assert refused(small.client.post("/v1/datasets", content=data), status, slug)["detail"]
    assert refused(post(small, data), status, slug)
    assert stored(small) == set()


def test_a_job_names_a_data_set_and_keeps_it_while_it_runs(service: RunningService) -> None:
    data = npy(RNG.standard_normal((3, 2)))
    digest = post(service, data).json()["id"]
    model = fake_model(test="dataset", analyze={"do": "sleep", "seconds": 60})
    job = service.analyze(model, wait=None, dataset=digest).json()
    refused(service.client.delete(f"/v1/datasets/{digest}"), 409, "dataset-in-use")
    service.client.post(job["urls"]["cancel"])
    service.finished(job["id"])
    quick = service.analyze(fake_model(test="dataset"), dataset=digest).json()
    assert quick["request"]["dataset"] == digest
    assert quick["result"]["dataset"] == digest
    assert service.analyze(fake_model(test="none")).json()["result"]["dataset"] is None
    assert service.client.delete(f"/v1/datasets/{digest}").status_code == 204


def test_an_unknown_data_set_is_refused(service: RunningService) -> None:
    model = service.upload(fake_model(test="unknown data set"))
    for request in (
        {"dataset": "0" * 64},
        {"domain": {"kind": "ball", "center": f"{'0' * 64}#0", "radius": 1}},
    ):
        refused(service.client.post("/v1/jobs", json={"model": model} | request), 404, "unknown-dataset")
    refused(service.client.post("/v1/jobs", json={"model": "1" * 64, "dataset": "0" * 64}), 404, "unknown-model")


def test_a_cached_answer_needs_its_data_set(service: RunningService) -> None:
    digest = post(service, npy(RNG.standard_normal((4, 2)))).json()["id"]
    body = {"model": service.upload(fake_model(test="cache")), "dataset": digest}

    def ask() -> httpx.Response:
        return service.client.post("/v1/jobs", json=body, headers={"Prefer": "wait=30"})

    assert ask().json()["cached"] is False
    assert ask().json()["cached"] is True
    service.client.delete(f"/v1/datasets/{digest}")
    refused(ask(), 404, "unknown-dataset")


def test_a_row_as_centre_is_canonical(service: RunningService) -> None:
    digest = post(service, npy(RNG.standard_normal((3, 2)))).json()["id"]
    ball = {"kind": "ball", "radius": 1.0}

    def asked(**fields: Any) -> dict[str, Any]:
        return service.analyze(fake_model(test="centre"), **fields).json()

    by_word = asked(dataset=digest, domain=ball | {"center": "dataset#2"})
    by_id = asked(domain=ball | {"center": f"{digest}#2"})
    assert by_word["request"] == by_id["request"]
    assert by_id["request"]["dataset"] == digest
    assert by_id["request"]["domain"] == ball | {"center": f"{digest}#2"}
