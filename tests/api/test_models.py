"""Models in and out over HTTP: what is kept, what is refused, and that a refusal leaves nothing."""

import hashlib
import http.client
import os
import re
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.conftest import RunningService, eventually, fake_model

Start = Callable[..., RunningService]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def kept(service: RunningService, data: bytes) -> bool:
    digest = sha256(data)
    return f"{digest[:2]}/{digest}" in service.files()


def refused(answer: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    body = answer.json()
    assert (answer.status_code, body.get("type")) == (status, f"urn:lipserve:problem:{slug}"), body
    return body


def test_a_form_makes_a_model_once(service: RunningService) -> None:
    data = fake_model(test="form")
    first = service.client.post("/v1/models", files={"file": ("dir/net.onnx", data)})
    again = service.client.post("/v1/models", files={"file": ("other.onnx", data)})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert first.headers["Location"] == f"/v1/models/{sha256(data)}"
    model = first.json()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", model.pop("created_at"))
    tensor = {"name": "x", "datatype": "FP32", "shape": [-1, 2]}
    assert model == {
        "id": sha256(data),
        "name": "net.onnx",
        "format": "onnx",
        "size_bytes": len(data),
        "files": [{"name": "net.onnx", "sha256": sha256(data), "size_bytes": len(data)}],
        "inputs": [tensor],
        "outputs": [tensor],
        "parameters": 3,
        "operators": {"Gemm": 1},
        "unsupported": [],
        "warnings": [],
    }
    assert kept(service, data)


def test_a_raw_body_makes_a_model(service: RunningService) -> None:
    data = fake_model(test="raw")
    answer = service.client.post("/v1/models?name=raw.onnx", content=data)
    assert (answer.status_code, answer.json()["name"]) == (201, "raw.onnx")


def test_put_checks_the_digest(service: RunningService) -> None:
    data = fake_model(test="put")
    refused(service.client.put(f"/v1/models/{'0' * 64}", content=data), 400, "digest-mismatch")
    assert not kept(service, data)
    assert service.client.put(f"/v1/models/{sha256(data)}", content=data).status_code == 201
    assert service.client.put(f"/v1/models/{sha256(data)}", content=data).status_code == 200


def test_head_get_list_delete(service: RunningService) -> None:
    data = fake_model(test="delete")
    model = service.upload(data)
    assert service.client.head(f"/v1/models/{model}").status_code == 200
    assert service.client.get(f"/v1/models/{model}").json()["id"] == model
    assert model in [entry["id"] for entry in service.client.get("/v1/models").json()["models"]]
    assert service.client.delete(f"/v1/models/{model}").status_code == 204
    assert not kept(service, data)
    assert service.client.head(f"/v1/models/{model}").status_code == 404
    assert service.client.head(f"/v1/models/{model}").content == b""


def test_pages_lead_through_all_models(service: RunningService) -> None:
    uploaded = {service.upload(fake_model(test="pages", index=index)) for index in range(5)}
    url, seen = "/v1/models?page_size=2", []
    while url:
        answer = service.client.get(url)
        body = answer.json()
        assert len(body["models"]) <= 2
        seen += [model["id"] for model in body["models"]]
        link = answer.headers.get("Link")
        assert (link is None) == (body["next_page_token"] is None)
        url = link[1 : link.index(">")] if link else ""
    assert len(seen) == len(set(seen))
    assert uploaded <= set(seen)


def test_a_large_page_is_clamped(service: RunningService) -> None:
    assert service.client.get("/v1/models?page_size=100000").status_code == 200


@pytest.mark.parametrize(
    ("step", "slug", "words"),
    [
        ({"do": "refuse", "slug": "invalid-model", "detail": "weights are NaN"}, "invalid-model", "weights are NaN"),
        ({"do": "refuse", "slug": "stateful-model", "detail": "buffer h"}, "stateful-model", "buffer h"),
        ({"do": "crash", "signal": "SIGSEGV"}, "invalid-model", "SIGSEGV"),
        ({"do": "blunder"}, "invalid-model", "ZeroDivisionError"),
        ({"do": "exhaust"}, "invalid-model", "memory"),
    ],
)
def test_a_file_that_cannot_be_read_leaves_nothing(
    service: RunningService, step: dict[str, Any], slug: str, words: str
) -> None:
    before = service.files()
    data = fake_model(inspect=step)
    for send in (
        lambda: service.client.post("/v1/models", content=data),
        lambda: service.client.post("/v1/analyze", content=data),
    ):
        assert words in refused(send(), 422, slug)["detail"]
    assert service.files() == before
    assert service.client.get(f"/v1/models/{sha256(data)}").status_code == 404


@pytest.mark.parametrize("data", [b"hello", b"", b"\x80\x04]\x94."], ids=["text", "empty", "pickle"])
def test_what_is_no_model_is_refused(service: RunningService, data: bytes) -> None:
    before = service.files()
    refused(service.client.post("/v1/models", content=data), 415, "not-a-model")
    refused(service.client.post("/v1/models", files={"file": ("m.onnx", data)}), 415, "not-a-model")
    assert service.files() == before


def test_a_file_over_the_cap_is_refused_with_and_without_its_length(service: RunningService) -> None:
    before = service.files()
    data = fake_model(a="x" * 2**21)
    refused(service.client.post("/v1/models", content=data), 413, "too-large")
    refused(service.client.post("/v1/models", files={"file": ("m", data)}), 413, "too-large")
    chunks = (data[start : start + 9999] for start in range(0, len(data), 9999))
    refused(service.client.post("/v1/models", content=chunks), 413, "too-large")
    assert service.files() == before


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nabc', "multipart/form-data; boundary=b"),
        (b"nonsense", "multipart/form-data; boundary=b"),
        (b"nonsense", "multipart/form-data"),
        (
            b'--b\r\nContent-Disposition: form-data; name="fiel"\r\n\r\nabc\r\n--b--\r\n',
            "multipart/form-data; boundary=b",
        ),
    ],
    ids=["cut", "garbage", "no boundary", "unknown part"],
)
def test_a_broken_form_is_refused(service: RunningService, body: bytes, content_type: str) -> None:
    before = service.files()
    answer = service.client.post("/v1/models", content=body, headers={"Content-Type": content_type})
    refused(answer, 400, "malformed-request")
    assert service.files() == before


@pytest.mark.parametrize(
    "head",
    [b"X-Long: " + b"x" * 2**19, b"X: y\r\n" * 10_000, b"x" * 2**19 + b": y"],
    ids=["value", "many", "name"],
)
def test_headers_of_a_part_are_short(service: RunningService, head: bytes) -> None:
    body = b"--b\r\n" + head.strip() + b'\r\nContent-Disposition: form-data; name="file"\r\n\r\nabc\r\n--b--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = service.client.post("/v1/models", content=body, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:lipserve:problem:malformed-request")


def test_a_form_without_file_is_refused(service: RunningService) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="request"\r\n\r\n{}\r\n--b--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    refused(service.client.post("/v1/analyze", content=body, headers=headers), 415, "not-a-model")


def test_a_model_is_kept_while_jobs_on_it_run(service: RunningService) -> None:
    data = fake_model(analyze={"do": "sleep", "seconds": 60})
    job = service.analyze(data, wait=None).json()
    refused(service.client.delete(f"/v1/models/{job['model']}"), 409, "model-in-use")
    service.client.post(job["urls"]["cancel"])
    service.finished(job["id"])
    assert service.client.delete(f"/v1/models/{job['model']}").status_code == 204
    assert service.client.get(job["urls"]["self"]).json()["status"] == "canceled"


def test_a_client_that_goes_away_leaves_nothing(service: RunningService) -> None:
    before = service.files()
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        head = b"POST /v1/models HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\n"
        connection.sendall(head + fake_model(a="gone") + bytes(500_000))
        eventually(service.files, lambda files: len(files) == len(before) + 1)
    eventually(service.files, lambda files: files == before)
    assert service.client.get("/livez").status_code == 200


def test_two_uploads_of_the_same_bytes_at_once_make_one_model(service: RunningService) -> None:
    data = fake_model(test="twice", inspect={"do": "sleep", "seconds": 0.2})
    before = service.files()
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda _: service.client.post("/v1/models", content=data), range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
    assert len({answer.text for answer in answers}) == 1
    assert len(service.files() - before) == 1


def test_an_upload_is_inspected_while_the_slot_is_busy(service: RunningService) -> None:
    job = service.analyze(fake_model(analyze={"do": "sleep", "seconds": 61}), wait=None).json()
    assert service.client.post("/v1/models", content=fake_model(test="beside")).status_code == 201
    service.client.post(job["urls"]["cancel"])
    service.finished(job["id"])


def test_a_nearly_full_disk_takes_nothing(start_service: Start) -> None:
    service = start_service(disk_reserve_bytes=2**60)
    refused(service.client.post("/v1/models", content=fake_model(a=1)), 507, "storage-full")
    assert service.files() == set()


def test_an_inspection_that_takes_too_long_is_an_invalid_model(start_service: Start) -> None:
    service = start_service(inspect_timeout_s=0.3)
    data = fake_model(inspect={"do": "sleep", "seconds": 60})
    assert "time limit" in refused(service.client.post("/v1/models", content=data), 422, "invalid-model")["detail"]
    assert service.files() == set()


@pytest.mark.parametrize(
    ("cap", "status"), [(2**30, 422), pytest.param(2**27, 413, marks=pytest.mark.slow)], ids=["within", "over"]
)
def test_two_hundred_megabytes_do_not_pass_through_memory(start_service: Start, cap: int, status: int) -> None:
    service = start_service(max_upload_bytes=cap)
    service.upload(fake_model(warm=True))
    peak, done = [resident_bytes(service.pid)], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            peak.append(resident_bytes(service.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        assert upload_of_size(service, 200 * 2**20) == status
    finally:
        done.set()
        watcher.join()
    assert max(peak) - peak[0] < 64 * 2**20
    assert len(service.files()) == 1


def resident_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def upload_of_size(service: RunningService, size: int) -> int:
    """Stream an ONNX envelope whose instructions are followed by zeros; the answer's status."""
    told = b'{"inspect": {"do": "refuse", "slug": "invalid-model", "detail": "large"}}'
    field, varint = size - 8, bytearray()
    for shift in (0, 7, 14, 21, 28):
        varint.append(field >> shift & 0x7F | (0x80 if shift < 28 else 0))
    head = b"\x08\x08\x3a" + varint + told
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    connection.putrequest("POST", "/v1/models")
    connection.putheader("Content-Length", str(size))
    connection.endheaders()
    connection.send(head)
    left, zeros = size - len(head), bytes(2**20)
    while left:
        connection.send(zeros[:left])
        left -= min(left, len(zeros))
    status = connection.getresponse().status
    connection.close()
    return status
