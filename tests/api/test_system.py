"""Health, versions, what the service can do, and the wrapping of every answer."""

import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from app.contract.methods import METHODS
from app.lipschitz.catalog import OPERATORS
from tests.conftest import ROOT, RunningService, eventually, fake_model

HEAVY = ("torch", "onnx", "onnx2torch", "onnxruntime", "numpy")


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/v2/health/live", "/v2/health/ready"])
def test_health(service: RunningService, path: str) -> None:
    assert service.client.get(path).status_code == 200


def test_readiness_tells_its_checks(service: RunningService) -> None:
    checks = service.client.get("/readyz").json()["checks"]
    names = ("service", "database", "files", "disk", "workers_inspect", "workers_graph", "workers_analyze")
    assert checks == dict.fromkeys(names, "ok")


def test_a_full_disk_is_known(start_service: Callable[..., RunningService]) -> None:
    answer = start_service(disk_reserve_bytes=2**60).client.get("/readyz")
    assert (answer.status_code, answer.json()["detail"]) == (503, "Not ready: disk.")
    assert "LIPSERVE_DISK_RESERVE_BYTES" in answer.json()["checks"]["disk"]


def test_version_names_what_computes(service: RunningService) -> None:
    body = service.client.get("/version").json()
    assert re.fullmatch(r"\d+\.\d+\.\d+", body["version"])
    assert set(body["components"]) == {"torch", "onnx", "onnx2torch", "onnxruntime"}


def test_methods_and_operators_are_those_of_the_catalog(service: RunningService) -> None:
    methods = service.client.get("/v1/methods").json()["methods"]
    assert [method["name"] for method in methods] == [method.name for method in METHODS]
    gradient = next(method for method in methods if method["name"] == "gradient")
    assert gradient["options"]["steps"]["default"] == 24
    assert len(service.client.get("/v1/operators").json()["operators"]) == len(OPERATORS)


def test_workers_show_device_state_and_job(service: RunningService) -> None:
    workers = service.client.get("/v1/workers").json()["workers"]
    assert [worker["kinds"] for worker in workers] == [["analyze"], ["inspect", "graph"]]
    assert {worker["device"] for worker in workers} == {"cpu"}
    job = service.analyze(fake_model(analyze={"do": "sleep", "seconds": 65}), wait=None).json()

    def slot() -> dict[str, Any]:
        return service.client.get("/v1/workers").json()["workers"][0]

    eventually(slot, lambda worker: (worker["state"], worker["job"]) == ("busy", job["id"]))
    service.client.post(job["urls"]["cancel"])
    eventually(slot, lambda worker: (worker["state"], worker["job"]) == ("idle", None))


def test_metrics_count_requests_and_jobs(service: RunningService) -> None:
    assert service.analyze(fake_model(test="metrics")).json()["status"] == "succeeded"
    text = service.client.get("/metrics").text
    assert re.search(r'lipserve_http_requests_total\{method="POST",route="/v1/analyze",status="200"\} \d', text)
    assert re.search(r'lipserve_jobs\{status="succeeded"\} [1-9]', text)
    assert "lipserve_queue_depth 0.0" in text
    assert 'lipserve_worker_up{device="cpu",state="' in text


def test_request_ids_are_echoed_or_made(service: RunningService) -> None:
    sent = service.client.get("/livez", headers={"X-Request-Id": "abc-1"})
    assert sent.headers["X-Request-Id"] == "abc-1"
    for odd in ("", "a b", "x" * 200):
        made = service.client.get("/nowhere", headers={"X-Request-Id": odd})
        assert re.fullmatch(r"[0-9a-f-]{36}", made.headers["X-Request-Id"])


@pytest.mark.parametrize(
    ("method", "path", "status", "slug"),
    [
        ("GET", "/nowhere", 404, "not-found"),
        ("PATCH", "/v1/jobs", 405, "method-not-allowed"),
        ("GET", "/v1/analyze", 405, "method-not-allowed"),
        ("GET", "/v1/jobs?page_size=0", 422, "invalid-request"),
        ("GET", "/v1/jobs?page_token=zzz", 422, "invalid-request"),
        ("GET", "/v1/jobs?status=dancing", 422, "invalid-request"),
        ("GET", "/v1/models/abc", 422, "invalid-request"),
        ("GET", f"/v1/models/{'0' * 64}", 404, "unknown-model"),
        ("DELETE", f"/v1/models/{'0' * 64}", 404, "unknown-model"),
        ("GET", "/v1/jobs/none", 404, "unknown-job"),
        ("POST", "/v1/jobs/none/cancel", 404, "unknown-job"),
        ("DELETE", "/v1/jobs/none", 404, "unknown-job"),
        ("GET", "/v1/jobs/none/events", 404, "unknown-job"),
        ("GET", "/v1/jobs/none/witness", 404, "unknown-job"),
        ("GET", "/v1/jobs/none/certificate", 404, "unknown-job"),
    ],
)
def test_errors_are_problems(service: RunningService, method: str, path: str, status: int, slug: str) -> None:
    answer = service.client.request(method, path)
    body = answer.json()
    assert (answer.status_code, body["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["type"] == f"urn:lipserve:problem:{slug}"
    assert body["instance"] == path.partition("?")[0]
    assert body["title"]
    assert body["detail"]
    assert answer.headers["X-Request-Id"]
    assert (status == 405) == ("Allow" in answer.headers)
    assert (status == 422) == ("errors" in body)


def test_the_api_process_never_imports_torch() -> None:
    code = (
        "import sys; from app.main import create_app; from app.settings import Settings; "
        "create_app(Settings()).openapi(); "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_the_running_service_never_imports_torch(service: RunningService) -> None:
    assert service.analyze(fake_model(test="maps")).status_code == 200
    with open(f"/proc/{service.pid}/maps") as maps:
        mapped = maps.read()
    assert not [name for name in ("libtorch", "_multiarray_umath", "onnx_cpp2py") if name in mapped]
