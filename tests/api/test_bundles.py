"""A model in several files over HTTP: one id for all of it, in whatever form it comes, and nothing left of refusals."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping

import pytest

from app.advice import ADVICE
from app.lipschitz.artifact import digest
from app.lipschitz.ingest import capture_artifact
from tests.api.test_models import refused
from tests.conftest import RunningService, fake_model
from tests.lipschitz.bundles import identity_of, network, split

Parts = list[tuple[str, tuple[str, bytes]]]


def parts(files: Mapping[str, bytes]) -> Parts:
    return [("file", file) for file in files.items()]


def zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def told(test: str) -> dict[str, bytes]:
    """Files that the fake library takes for a model in two files."""
    return {"net.onnx": fake_model(test=test), "net.onnx.data": f"weights of {test}".encode() * 100}


def test_files_of_one_form_are_one_model(service: RunningService) -> None:
    files = told("several")
    first = service.client.post("/v1/models", files=parts(files))
    again = service.client.post("/v1/models", files=parts(dict(reversed(files.items()))))
    packed = service.client.post("/v1/models?name=net.zip", content=zipped(files))
    assert [answer.status_code for answer in (first, again, packed)] == [201, 200, 200]
    assert first.json() == again.json() == packed.json()
    model = first.json()
    assert (model["id"], model["name"]) == (identity_of(files), "net.onnx")
    assert model["size_bytes"] == sum(map(len, files.values()))
    assert model["files"] == [
        {"name": name, "sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
        for name, data in files.items()
    ]
    assert service.client.head(f"/v1/models/{model['id']}").status_code == 200
    assert service.client.delete(f"/v1/models/{model['id']}").status_code == 204
    assert f"{model['id'][:2]}/{model['id']}" not in service.files()


def test_a_model_of_one_file_keeps_its_digest(service: RunningService) -> None:
    data = fake_model(test="alone in an archive")
    model = service.client.post("/v1/models", content=zipped({"folder/net.onnx": data})).json()
    digest = hashlib.sha256(data).hexdigest()
    assert (model["id"], model["name"]) == (digest, "net.onnx")
    assert model["files"] == [{"name": "net.onnx", "sha256": digest, "size_bytes": len(data)}]


def test_put_and_idempotency_know_a_bundle_by_its_id(service: RunningService) -> None:
    files = told("put")
    refused(service.client.put(f"/v1/models/{'0' * 64}", files=parts(files)), 400, "digest-mismatch")
    assert service.client.put(f"/v1/models/{identity_of(files)}", files=parts(files)).status_code == 201
    assert service.client.put(f"/v1/models/{identity_of(files)}", content=zipped(files)).status_code == 200
    key = {"Idempotency-Key": "bundle-1"}
    first, again, cut = (
        service.client.post("/v1/models", files=parts(given), headers=key)
        for given in (files, files, dict(reversed(files.items())))
    )
    assert [answer.headers.get("Idempotency-Replayed") for answer in (first, again, cut)] == [None, "true", "true"]
    refused(service.client.post("/v1/models", files=parts(told("put 2")), headers=key), 422, "idempotency-mismatch")


BROKEN: list[tuple[Parts, int, str, str]] = [
    (parts({"m.onnx": fake_model(), "../m.onnx.data": b"x"}), 422, "invalid-model", "beside the model"),
    (parts({"m.onnx": fake_model(), "/m.onnx.data": b"x"}), 422, "invalid-model", "beside the model"),
    (parts({"a/m.onnx": fake_model(), "b/m.onnx.data": b"x"}), 422, "surplus-data", "'b/m.onnx.data'"),
    ([("file", ("m.onnx", fake_model()))] * 2, 400, "malformed-request", "two files named 'm.onnx'"),
    (parts({"a.onnx": fake_model(a=1), "b.onnx": fake_model(b=1)}), 422, "invalid-model", "several models"),
    (parts({"a.bin": b"x", "b.bin": b"y"}), 415, "not-a-model", "'a.bin', 'b.bin'"),
    (parts({f"{index}.bin": b"x" for index in range(1001)}), 400, "malformed-request", "more than 1000 files"),
    (parts({"m.onnx": fake_model(), "big.bin": bytes(2**20)}), 413, "too-large", "larger than"),
]


@pytest.mark.parametrize(("form", "status", "slug", "words"), BROKEN, ids=[slug for _, _, slug, _ in BROKEN])
def test_forms_that_are_no_bundle_leave_nothing(
    service: RunningService, form: Parts, status: int, slug: str, words: str
) -> None:
    before = service.files()
    assert words in refused(service.client.post("/v1/models", files=form), status, slug)["detail"]
    assert service.files() == before


def test_a_foreign_file_is_refused_before_all_of_it_came(service: RunningService) -> None:
    """Of three MiB, where the limit is one, and no length is told beforehand: the first bytes say what it is."""
    pieces = [(50).to_bytes(8, "little") + b'{"w": {}}'.ljust(50), *[bytes(2**20)] * 3]
    problem = refused(service.client.post("/v1/models", content=iter(pieces)), 415, "not-a-model")
    assert "optimum-cli export onnx" in problem["detail"]
    assert problem["advice"] == ADVICE["not-a-model"]


def test_a_data_set_is_one_file(service: RunningService) -> None:
    answer = service.client.post("/v1/datasets", files=parts({"a.npy": b"x", "b.npy": b"y"}))
    refused(answer, 400, "malformed-request")


def test_a_model_in_several_files_is_bounded_as_in_one(library_service: RunningService) -> None:
    files = split({"w": "weights/first.bin"}, seed=7)
    query = "/v1/analyze?methods=autolip&budget_s=20"
    job = library_service.client.post(query, headers={"Prefer": "wait=60"}, files=parts(files)).json()
    assert (job["status"], job["model"]) == ("succeeded", identity_of(files))
    assert job["result"]["graph"]["sha256"] == digest(capture_artifact(network(seed=7)))


def test_what_is_missing_or_surplus_is_named(library_service: RunningService) -> None:
    files = split(seed=8)
    before = library_service.files()
    alone = library_service.client.post("/v1/models", content=files["m.onnx"])
    assert "'m.onnx.data'" in refused(alone, 422, "missing-data")["detail"]
    more = library_service.client.post("/v1/models", content=zipped(files | {"extra.bin": b"x"}))
    assert "'extra.bin'" in refused(more, 422, "surplus-data")["detail"]
    empty = {"m.onnx": network(seed=8), "m.onnx.data": b""}  # as torch writes beside a model of small weights
    assert library_service.client.post("/v1/models", files=parts(empty)).status_code == 201
    before = library_service.files()
    short = library_service.client.post("/v1/models", files=parts(files | {"m.onnx.data": files["m.onnx.data"][:-4]}))
    assert "176 bytes" in refused(short, 422, "invalid-model")["detail"]
    assert library_service.files() == before
