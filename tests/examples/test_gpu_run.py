"""`benchmarks/gpu/run`, which waits for a GPU: here in small, so that it does not rot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from app.jobs.devices import EXACT
from benchmarks.gpu import steps, wheels
from benchmarks.gpu.report import agreement, compared, markdown
from benchmarks.gpu.steps import ROOT, Outcome, Step, run

PYTHON = Path(sys.executable)
ROW = 'import os, pathlib; pathlib.Path(os.environ[\'GPU_ROWS\']).write_text(\'{"case": "a", "ok": %s}\\n{"cut sho\'); '


@pytest.mark.parametrize(
    ("code", "status", "rows"),
    [
        (ROW % "true", "passed", 1),
        (ROW % "false", "wrong", 1),
        (ROW % "true" + "import time; time.sleep(60)", "stopped after 1 s", 1),
        ("print('why'); raise SystemExit(3)", "failed with 3", 0),
    ],
)
def test_a_step_ends_by_itself_and_leaves_its_rows(tmp_path: Path, code: str, status: str, rows: int) -> None:
    outcome = run(Step("a", ["-c", code], 1.0), PYTHON, tmp_path, 100.0)
    assert (outcome.status, len(outcome.rows)) == (status, rows)
    assert outcome.passed == (status == "passed")
    assert ("why" in outcome.tail) == (rows == 0)


def test_what_does_not_fit_in_is_left_out(tmp_path: Path) -> None:
    assert run(Step("a", ["-c", "1/0"], 1.0), PYTHON, tmp_path, 0.5).status == "left out: the time was over"


def test_only_steps_of_the_cpu_are_kept_from_the_gpu(tmp_path: Path) -> None:
    told = "import os; print(os.environ.get('CUDA_VISIBLE_DEVICES'))"
    assert run(Step("a", ["-c", told], 9.0, has_gpu=False), PYTHON, tmp_path, 9.0).tail == "\n"
    assert steps.EXACT == EXACT


def test_the_steps_hold_every_test_that_needs_a_gpu(tmp_path: Path) -> None:
    (tests,) = (step for step in steps.steps(True, tmp_path) if step.name == "tests")
    listed = {
        "tests/lipschitz/test_cuda.py",
        "tests/lipschitz/operators/test_norm.py",
        "tests/lipschitz/network/test_inputs.py",
    }
    assert listed <= set(tests.arguments)


def test_devices_are_compared_within_what_the_case_allows() -> None:
    cpu = {"case": "a | b", "device": "cpu", "seconds": 2.0, "value": 1.0, "within": 1e-9}
    near, far = cpu | {"device": "cuda", "seconds": 0.5, "value": 1.0 + 1e-10}, cpu | {"device": "cuda", "value": 1.1}
    assert compared([cpu, near])[0][1:4] == ("2", "0.5", "4")
    assert agreement(cpu, near).endswith("yes")
    assert "**NO**" in agreement(cpu, far)
    page = markdown([Outcome("x", "passed", 1.0, [cpu, near]), Outcome("y", "failed with 1", 1.0, [], "the end of it")])
    assert "| a / b | 2 | 0.5 | 4 |" in page
    assert "the end of it" in page


def test_nothing_that_the_image_has_is_carried() -> None:
    names = {line.split("==")[0] for line in wheels.requirements()}
    assert {"pydantic-core", "sqlalchemy", "fastapi", "hypothesis", "nvidia-ml-py"} <= names
    assert not names & {"torch", "torchvision", "numpy", "scipy", "onnx", "onnxruntime", "triton", "vl-convert-python"}
    assert not any(name.startswith("nvidia-") for name in names - {"nvidia-ml-py"})


def test_only_wheels_of_this_python_are_unpacked(tmp_path: Path) -> None:
    for name, tag in (("a", "py3-none-any"), ("b", "cp27-cp27m-manylinux1_x86_64"), ("c", "py3-none-win32")):
        with zipfile.ZipFile(tmp_path / f"{name}-1-{tag}.whl", "w") as wheel:
            wheel.writestr(f"{name}.py", "")
    assert len(wheels.unpack(tmp_path, tmp_path / "site")) == 1
    assert [path.name for path in (tmp_path / "site").iterdir()] == ["a.py"]


@pytest.mark.slow
def test_everything_runs_in_small(tmp_path: Path) -> None:
    """As on a bare machine, but on the CPU, and with the packages that are installed here."""
    environment = os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [str(ROOT / "benchmarks/gpu/run"), "--small", "--wheels", str(tmp_path / "none"), str(tmp_path / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = json.loads((tmp_path / "out/gpu.json").read_text())
    assert {outcome["status"] for outcome in outcomes} == {"passed"}
    checked = [row for outcome in outcomes for row in outcome["rows"] if row["case"].startswith("checked: ")]
    assert len(checked) == 7
    assert "## CPU and GPU" in (tmp_path / "out/gpu.md").read_text()
