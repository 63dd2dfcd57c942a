"""A real MLflow server in a process of its own, from wherever mlflow is installed."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import torch

from tests.conftest import ROOT, free_port

REGISTRY = ROOT / "examples" / "mlflow_hook" / "registry.py"
VARIABLE = "LIPSERVE_TEST_MLFLOW"
START_S = 120.0

BORROWING = (
    "import runpy, sys; sys.path.append({site!r}); del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
)
"""Runs a script with this environment's torch behind its own packages."""


def torch_site() -> str:
    return str(Path(torch.__file__).parent.parent)


@dataclass
class MlflowServer:
    """`python` has mlflow; `run` gives what `registry.py` printed."""

    python: str
    uri: str
    log: Path

    def run(self, *arguments: str) -> str:
        environment = os.environ | {"MLFLOW_TRACKING_URI": self.uri, "GIT_PYTHON_REFRESH": "quiet"}
        command = [self.python, "-c", BORROWING.format(site=torch_site()), str(REGISTRY), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip().splitlines()[-1] if arguments[0] != "tags" else done.stdout


def mlflow_python() -> str:
    """A Python with mlflow: the variable's, the example's own, or this one; the test is skipped without."""
    candidates = [os.environ.get(VARIABLE, ""), str(ROOT / ".venv-mlflow" / "bin" / "python"), sys.executable]
    for candidate in candidates:
        program = shutil.which(candidate)
        command = "from importlib.metadata import version; version('mlflow')"
        if program and subprocess.run([program, "-c", command], capture_output=True).returncode == 0:
            return program
    pytest.skip(f"no mlflow: name a Python that has it in {VARIABLE}, or run examples/mlflow_hook/run once")


@contextmanager
def running_mlflow(folder: Path, python: str, **environment: str) -> Iterator[MlflowServer]:
    """An empty server on a free loopback port."""
    port, log = free_port(), folder / "mlflow.log"
    given = {
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": base64.urlsafe_b64encode(bytes(32)).decode(),
        "MLFLOW_WEBHOOK_CACHE_TTL": "1",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
             "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/artifacts"],
            env=os.environ | given | environment, cwd=folder, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        uri = f"http://127.0.0.1:{port}"
        await_health(process, uri, log)
        yield MlflowServer(python, uri, log)
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def await_health(process: subprocess.Popen[bytes], uri: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(f"{uri}/health", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise TimeoutError(log.read_text())
