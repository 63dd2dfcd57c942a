"""A gate passes only on an answer to its own question: two models in one folder, and services that answer anything."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from app import cli
from examples import client
from tests.conftest import ROOT, RunningService
from tests.effort import sampled
from tests.lipschitz.bundles import identity_of, split

GATE = {"gate": {"max_upper": 12}}
IRIS = ROOT / "examples" / "iris.onnx"
DIGEST = hashlib.sha256(IRIS.read_bytes()).hexdigest()
UPPER = {"value": 1.0, "method": "autolip", "guarantee": "certified"}
RESULT = {
    "norm": "2", "verdict": "pass", "upper": UPPER, "lower": None, "ratio": None,
    "estimates": [], "layers": [], "certificates": [], "warnings": [],
}  # fmt: skip
JOB = {"id": "j", "model": DIGEST, "status": "succeeded", "finished_at": "2026-01-01T00:00:00Z", "error": None}
JOB |= {"progress": None, "result": RESULT}


def script(url: str, model: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"LIPSERVE_URL": url, "LIPSERVE_KEY": "any"}
    command = [ROOT / "examples" / "gate.sh", model.name, json.dumps(GATE)]
    return subprocess.run(command, cwd=model.parent, env=environment, capture_output=True, text=True, timeout=60)


def by_script(url: str, model: Path) -> int:
    return script(url, model).returncode


def by_command(url: str, model: Path) -> int:
    return cli.main(["analyze", str(model), "--server", url, "--max-upper", "12"])


def by_client(url: str, model: Path) -> int:
    return client.main([url, str(model), "--max-upper", "12"])


GATES = [by_script, by_command, by_client]
each_gate = pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.__name__)


@contextmanager
def service_that_answers(job: Any, **of_route: Any) -> Iterator[str]:
    """A service whose models are whatever was sent, and whose jobs are `job`, as JSON or as bytes."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.answer({"id": DIGEST} if self.path == "/v1/models" else of_route.get("submitted", JOB))

        def do_GET(self) -> None:
            self.answer(job)

        def answer(self, told: Any) -> None:
            status, body = told if isinstance(told, tuple) else (200, told)
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_arguments: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@each_gate
def test_the_answer_that_was_asked_for_passes(gate: Any) -> None:
    with service_that_answers(JOB) as url:
        assert gate(url, IRIS) == 0


WRONG: dict[str, Any] = {
    "nothing": b"",
    "a page": b"<html>sign in</html>",
    "half": json.dumps(JOB).encode()[:-20],
    "no object": [JOB],
    "no job": {},
    "another job": JOB | {"id": "earlier"},
    "another model": JOB | {"model": "0" * 64},
    "no result": JOB | {"result": None, "status": "failed", "error": {"detail": "why"}},
    "no verdict": JOB | {"result": RESULT | {"verdict": None}},
    "a verdict of another kind": JOB | {"result": RESULT | {"verdict": "passed"}},
    "a refusal": (403, {"title": "t", "detail": "not you"}),
    "a page of a proxy": (502, b"<html>pass</html>"),
}


@pytest.mark.parametrize(("gate", "wrong"), sampled(GATES, WRONG, every=5))
def test_no_other_answer_does(gate: Any, wrong: str) -> None:
    with service_that_answers(WRONG[wrong]) as url:
        assert gate(url, IRIS) == 3


@pytest.mark.parametrize(("gate", "wrong"), sampled(GATES, ["nothing", "a page", "no job", "a refusal"], every=3))
def test_a_submission_that_is_not_taken_ends_it(gate: Any, wrong: str) -> None:
    with service_that_answers(JOB, submitted=WRONG[wrong]) as url:
        assert gate(url, IRIS) == 3


def test_the_script_says_why_it_is_refused_and_ends_where_nobody_answers(tmp_path: Path) -> None:
    with service_that_answers(JOB, submitted=(422, {"detail": "The file is no model."})) as url:
        done = script(url, IRIS)
    assert (done.returncode, "The file is no model." in done.stderr) == (3, True)
    assert by_script("http://127.0.0.1:9", IRIS) == 3
    assert by_script("", IRIS) == 3
    assert by_script("http://127.0.0.1:9", tmp_path / "missing.onnx") == 3


def steep(path: Path) -> None:
    """A linear model with the constant 1000."""
    weight = numpy_helper.from_array(np.float32([[1000.0]]), "w")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def test_a_second_model_in_the_folder_has_a_verdict_of_its_own(library_service: RunningService, tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    for make, status in ((lambda: shutil.copy(IRIS, model), 0), (lambda: steep(model), 1)):
        make()
        done = script(library_service.url, model)
        assert done.returncode == status, done.stderr
        assert by_command(library_service.url, model) == status
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx"}


def test_the_script_sends_the_files_beside_a_model_and_knows_their_name(tmp_path: Path) -> None:
    files = split()
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    for named, status in ((identity_of(files), 0), (DIGEST, 3)):
        job = JOB | {"model": named}
        with service_that_answers(job, submitted=job) as url:
            command = [ROOT / "examples" / "gate.sh", *("m.onnx", json.dumps(GATE), "m.onnx.data")]
            environment = os.environ | {"LIPSERVE_URL": url, "LIPSERVE_KEY": "any"}
            done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == status, done.stderr
