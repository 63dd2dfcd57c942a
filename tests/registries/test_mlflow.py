"""A real MLflow server tells of new versions, and finds the bounds in their tags."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from tests.conftest import ROOT, RunningService, eventually
from tests.registries.mlflow_server import MlflowServer, mlflow_python, running_mlflow

Start = Callable[..., RunningService]
SECRET = "mlflow-secret"
IRIS_CONSTANT = 11.634355134114875
OPEN = {"MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https", "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with running_mlflow(tmp_path_factory.mktemp("mlflow"), mlflow_python(), **OPEN) as server:
        yield server


@pytest.fixture(scope="module")
def service(server: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """With the real library."""
    running = RunningService(
        tmp_path_factory.mktemp("hooked") / "data",
        worker_module="app.worker",
        mlflow_tracking_uri=server.uri,
        mlflow_webhook_secret=SECRET,
        hook_request=json.dumps({"methods": ["autolip", "exact"], "gate": {"max_upper": 12}}),
        hook_pauses_s="[0.2, 0.2]",
        poll_s=0.1,
        warm_spare=False,
    )
    running.start()
    server.run("watch", f"{running.url}/v1/hooks/mlflow", SECRET)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def iris(server: MlflowServer, service: RunningService) -> str:
    """A version of the model `iris`, of which the server has told the service."""
    return server.run("log", "iris", str(ROOT / "examples" / "iris.onnx"), "-1,4")


def tags(server: MlflowServer, name: str, version: str) -> dict[str, str]:
    found = json.loads(server.run("tags", name, version))
    return {key.removeprefix("lipschitz."): value for key, value in found.items()}


def signed(service: RunningService, message: dict[str, Any] | bytes, **given: str) -> httpx.Response:
    """A delivery by MLflow's documented scheme; `given` replaces headers."""
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    headers = {"x-mlflow-delivery-id": str(uuid.uuid4()), "x-mlflow-timestamp": str(int(time.time()))} | given
    content = f"{headers['x-mlflow-delivery-id']}.{headers['x-mlflow-timestamp']}.".encode() + body
    digest = hmac.new(SECRET.encode(), content, hashlib.sha256).digest()
    headers = {"x-mlflow-signature": "v1," + base64.b64encode(digest).decode()} | headers
    return service.client.post("/v1/hooks/mlflow", content=body, headers=headers)


def version_created(name: str, version: str) -> dict[str, Any]:
    data = {"name": name, "version": version, "source": "models:/m-1", "run_id": None, "tags": {}, "description": ""}
    return {"entity": "model_version", "action": "created", "timestamp": "2026-01-01T00:00:00+00:00", "data": data}


def received(service: RunningService, delivery: str) -> dict[str, Any]:
    rows = service.client.get("/v1/webhooks/received").json()["received"]
    return next(row for row in rows if row["delivery"] == delivery)


def count_of_jobs(service: RunningService) -> int:
    return len(service.client.get("/v1/jobs", params={"page_size": 200}).json()["jobs"])


@pytest.mark.slow
def test_log_register_webhook_job_tags(server: MlflowServer, service: RunningService, iris: str) -> None:
    found = tags(server, "iris", iris)
    assert (found["verdict"], found["status"]) == ("pass", "succeeded")
    assert float(found["lower"]) <= IRIS_CONSTANT <= float(found["upper"]) <= 1.01 * IRIS_CONSTANT
    job = service.client.get(f"/v1/jobs/{found['job']}").json()
    assert job["metadata"]["mlflow"]["name"] == "iris"
    assert repr(job["result"]["upper"]["value"]) == found["upper"]
    versions = service.client.get("/v1/series/iris").json()["versions"]
    assert found["job"] in [version["job"] for version in versions if version["version"] == iris]


@pytest.mark.slow
def test_open_sizes_come_from_the_signature(server: MlflowServer, service: RunningService, tmp_path: Path) -> None:
    """The file leaves the width open; MLflow splits it, too: its weights lie in a second file."""
    weight = np.random.default_rng(0).standard_normal((64, 32)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", s]) for n, s in (("x", "k"), ("y", 32))]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [numpy_helper.from_array(weight, "w")])
    path = tmp_path / "wide.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    version = server.run("log", "wide", str(path), "-1,64")
    found = tags(server, "wide", version)
    assert float(found["upper"]) == pytest.approx(np.linalg.norm(weight, 2), rel=1e-5), found
    assert service.client.get(f"/v1/jobs/{found['job']}").json()["request"]["inputs"] == {"x": [1, 64]}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
def test_a_torchscript_version(server: MlflowServer, service: RunningService, tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.ReLU(), torch.nn.Linear(7, 2))
    torch.jit.save(torch.jit.script(model), tmp_path / "m.pt")
    version = server.run("script", "scripted", str(tmp_path / "m.pt"), "-1,5")
    found = tags(server, "scripted", version)
    product = np.prod([np.linalg.norm(layer.weight.detach().numpy(), 2) for layer in (model[0], model[2])])
    assert found["status"] == "succeeded", found
    assert 0 < float(found["lower"]) <= float(found["upper"]) <= product * 1.0001


@pytest.mark.slow
def test_a_gate_that_fails(server: MlflowServer, service: RunningService, tmp_path: Path) -> None:
    model = onnx.load(ROOT / "examples" / "iris.onnx")
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(2 * numpy_helper.to_array(tensor), tensor.name))
    onnx.save(model, tmp_path / "steep.onnx")
    version = server.run("log", "steep", str(tmp_path / "steep.onnx"), "-1,4")
    assert tags(server, "steep", version)["verdict"] == "fail"


@pytest.mark.slow
def test_a_source_of_the_registry(service: RunningService, iris: str) -> None:
    source = {"source": {"mlflow": {"name": "iris", "version": iris}}}
    answer = service.client.post("/v1/models", json=source)
    assert answer.status_code in (200, 201), answer.text
    missing = service.client.post("/v1/models", json={"source": {"mlflow": {"name": "nobody", "version": "1"}}})
    assert missing.status_code == 502


def test_wrong_signatures_and_stale_ones(service: RunningService, iris: str) -> None:
    before = count_of_jobs(service)
    message = version_created("iris", iris)
    now = int(time.time())
    refusals = {
        "bad-signature": [
            {"x-mlflow-signature": "v1," + base64.b64encode(bytes(32)).decode()},
            {"x-mlflow-signature": "v2,x"},
            {"x-mlflow-timestamp": "yesterday"},
            {"x-mlflow-signature": ""},
        ],
        "stale-delivery": [{"x-mlflow-timestamp": str(now - 301)}, {"x-mlflow-timestamp": str(now + 310)}],
    }
    for slug, cases in refusals.items():
        for case in cases:
            answer = signed(service, message, **case)
            assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (401, slug), case
            assert answer.headers["WWW-Authenticate"] == "Signature"
    tampered = signed(service, message, **{"x-mlflow-delivery-id": "d1"})
    headers = {name: value for name, value in tampered.request.headers.items() if name.startswith("x-mlflow")}
    assert tampered.status_code == 202
    other = json.dumps(version_created("iris", "2")).encode()
    assert service.client.post("/v1/hooks/mlflow", content=other, headers=headers).status_code == 401
    moved = headers | {"x-mlflow-delivery-id": "d2"}
    assert service.client.post("/v1/hooks/mlflow", content=tampered.request.content, headers=moved).status_code == 401
    eventually(lambda: received(service, "d1")["state"], lambda s: s == "done", 60)
    assert count_of_jobs(service) == before + 1


def test_a_replayed_delivery_makes_no_second_job(service: RunningService, iris: str) -> None:
    eventually(lambda: count_of_jobs(service), bool, 60)  # that of the server's own message
    first = signed(service, version_created("iris", iris), **{"x-mlflow-delivery-id": "replayed"})
    row = eventually(lambda: received(service, "replayed"), lambda r: r["state"] == "done", 60)
    jobs = count_of_jobs(service)
    sent = {name: value for name, value in first.request.headers.items() if name.startswith("x-mlflow")}
    for _ in range(3):
        again = service.client.post("/v1/hooks/mlflow", content=first.request.content, headers=sent)
        assert (again.status_code, again.json()) == (
            202, {"delivery": "replayed", "state": "done", "job": row["job"]},
        )  # fmt: skip
    time.sleep(0.5)
    assert count_of_jobs(service) == jobs


def test_messages_that_ask_for_nothing(service: RunningService) -> None:
    tag = {
        "entity": "model_version_tag",
        "action": "set",
        "data": {"name": "a", "version": "1", "key": "k", "value": "v"},
    }
    for message in (tag, {"entity": "prompt", "action": "created", "data": {}}, {"entity": 3}, []):
        answer = signed(service, json.dumps(message).encode())
        assert (answer.status_code, answer.json()["state"]) == (202, "ignored")
    assert signed(service, b"no json").status_code == 400
    assert signed(service, bytes(2**20 + 1)).status_code == 413


@pytest.mark.slow
def test_an_artifact_that_cannot_be_reached_is_told_in_the_tags(
    server: MlflowServer, service: RunningService, tmp_path: Path
) -> None:
    idle = server.run("log", "lost", str(ROOT / "examples" / "iris.onnx"), "-1,4")
    tags(server, "lost", idle)
    for artifacts in (server.log.parent / "artifacts").rglob("model.onnx"):
        shutil.move(artifacts, tmp_path / f"{uuid.uuid4()}")
    signed(service, version_created("lost", idle), **{"x-mlflow-delivery-id": "lost"})
    row = eventually(lambda: received(service, "lost"), lambda r: r["state"] == "failed", 60)
    assert row["job"] is None
    assert tags(server, "lost", idle)["verdict"] == "error"
    assert "answers with status" in tags(server, "lost", idle)["error"]


@pytest.mark.slow
def test_mlflow_calls_no_private_address_unless_it_is_told_to(tmp_path: Path) -> None:
    """Its defaults, which the documentation names with the two variables that change them."""
    python = mlflow_python()
    with running_mlflow(tmp_path, python) as server:
        for url, reason in (("http://127.0.0.1:9/", "Invalid webhook URL scheme"), ("https://127.0.0.1:9/", "public")):
            with pytest.raises(AssertionError, match=reason):
                server.run("watch", url, SECRET)


@pytest.mark.slow
def test_the_example_is_one_command(tmp_path: Path) -> None:
    command = [str(ROOT / "examples" / "mlflow_hook" / "run"), "--python", mlflow_python()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout[done.stdout.index("{") :])
    assert shown["lipschitz.verdict"] == "pass"
    assert float(shown["lipschitz.lower"]) <= IRIS_CONSTANT <= float(shown["lipschitz.upper"])
