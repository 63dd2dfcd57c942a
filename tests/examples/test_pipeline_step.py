"""The shell steps around `lipserve analyze` in docs/pipelines.md: exit status, and whether the next command runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.commands import analyze
from tests.conftest import ROOT, RunningService, eventually

PAGE = (ROOT / "docs" / "pipelines.md").read_text()
[LENIENT] = re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
STRICT = "set -e\nlipserve analyze model.onnx --methods autolip,gradient --max-upper 18 --json > bracket.json\n"
STRICT += "./publish model.onnx\n"
LIMIT = "--max-upper 18"
"""AutoLip's bound of the model is 17.08, and gradient ascent finds at least 8."""

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("LIPSERVE_")}
ENVIRONMENT["PATH"] = f"{Path(sys.executable).parent}:{ENVIRONMENT['PATH']}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the step finds: the model, and a command that leaves a trace."""
    shutil.copy(ROOT / "examples" / "iris.onnx", tmp_path / "model.onnx")
    publish = tmp_path / "publish"
    publish.write_text('#!/bin/sh\ncp "$1" published\n')
    publish.chmod(0o755)
    return tmp_path


def run(step: str, folder: Path, url: str) -> subprocess.CompletedProcess[str]:
    """The step, asking a service: it is the quicker way to the same status."""
    environment = ENVIRONMENT | {"LIPSERVE_URL": url}
    command = ["bash", "-e", "-c", step]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("step", "limit", "status", "goes_on"),
    [
        (STRICT, "18", 0, True),
        pytest.param(STRICT, "1", 1, False, marks=pytest.mark.slow),
        (STRICT, "16", 2, False),
        pytest.param(LENIENT, "1", 1, False, marks=pytest.mark.slow),
        (LENIENT, "16", 0, True),
    ],
)
def test_the_step_ends_as_the_gate_does(
    library_service: RunningService, folder: Path, step: str, limit: str, status: int, goes_on: bool
) -> None:
    assert LIMIT in step
    done = run(step.replace(LIMIT, f"--max-upper {limit}"), folder, library_service.url)
    assert done.returncode == status, done.stderr
    assert (folder / "published").exists() == goes_on
    verdict = {"18": "pass", "1": "fail", "16": "inconclusive"}[limit]
    assert json.loads((folder / "bracket.json").read_text())["verdict"] == verdict


def test_a_model_that_is_none_ends_even_the_lenient_step(library_service: RunningService, folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"no model")
    done = run(LENIENT, folder, library_service.url)
    assert done.returncode == analyze.ERROR
    assert (folder / "bracket.json").read_text() == ""
    assert not (folder / "published").exists()


def test_an_interrupt_has_a_status_of_its_own(folder: Path) -> None:
    options = ["--methods", "annealing", "--request", '{"options": {"annealing": {"seconds": 60, "steps": 1000000}}}']
    command = ["lipserve", "analyze", "model.onnx", *options]
    process = subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    eventually(children.read_text, bool, 30)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output) == (analyze.INTERRUPTED, b""), errors


def test_the_table_has_every_status() -> None:
    table = re.findall(r"^\| (\d+) \| (\w+)", PAGE[PAGE.index("## A gate in a build") :], re.MULTILINE)
    known = [analyze.PASS, analyze.FAIL, analyze.INCONCLUSIVE, analyze.ERROR, analyze.INTERRUPTED]
    assert [int(status) for status, _ in table] == known
