"""What is run, the most valuable first: a process each, whose end by whatever cause leaves the others alone."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TAIL = 6000
"""Characters of a step's output that are kept."""
GRACE_S = 10.0
MEASURE = "benchmarks.gpu.measure"
EXACT = {"NVIDIA_TF32_OVERRIDE": "0", "CUBLAS_EMULATE_DOUBLE_PRECISION": "0"}
"""As the service sets them for its children (`app.jobs.devices`), which cannot be imported here."""


@dataclass(frozen=True)
class Step:
    """A command; `has_gpu`: it may see the GPU."""

    name: str
    arguments: Sequence[str]
    limit_s: float
    has_gpu: bool = True


@dataclass(frozen=True)
class Outcome:
    """How a step ended, and the rows that it wrote before it did."""

    name: str
    status: str
    seconds: float
    rows: list[dict[str, Any]] = field(default_factory=list)
    tail: str = ""

    @property
    def passed(self) -> bool:
        """Whether it came to its end, and nothing that it looked at was wrong."""
        return self.status == "passed"


def steps(small: bool, work: Path) -> list[Step]:
    """All of them; a case on both devices takes two, as a process sees the GPU or does not."""
    files = sorted({str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py") if _is_marked(path)})
    pytest = ["-m", "pytest", "-p", "no:cacheprovider", "-o", "filterwarnings=default", "-m", "cuda", "-rs", *files]
    common = ["--folder", str(work), *(["--small"] if small else [])]

    def measure(case: str, limit_s: float, *devices: str) -> list[Step]:
        return [
            Step(f"{case}, {device}", ["-m", MEASURE, case, device, *common], limit_s, device == "cuda")
            for device in devices
        ]

    return [
        *measure("machine", 60, "cuda"),
        Step("tests", pytest, 120),
        *measure("certificates", 60, "cuda", "cpu"),
        *measure("check", 60, "cpu"),
        *measure("service", 90, "cuda"),
        *measure("resnet50", 60, "cuda", "cpu"),
        *measure("lipsdp", 60, "cuda", "cpu"),
        *measure("cholesky", 30, "cuda", "cpu"),
        *measure("convolutions", 40, "cuda", "cpu"),
        *measure("ascent", 30, "cuda", "cpu"),
    ]


def _is_marked(path: Path) -> bool:
    return re.search(r"\bpytest\.mark\.cuda\b", path.read_text()) is not None


def run(step: Step, python: Path, work: Path, left_s: float) -> Outcome:
    """Run it within its own limit and what is left for all; never raises."""
    if left_s < 1.0:
        return Outcome(step.name, "left out: the time was over", 0.0)
    rows, begun = work / "rows", time.monotonic()
    rows.unlink(missing_ok=True)
    mine = {**os.environ, **EXACT, "GPU_ROWS": str(rows), "PYTHONUNBUFFERED": "1"} | (
        {} if step.has_gpu else {"CUDA_VISIBLE_DEVICES": ""}
    )
    with (work / "log").open("w+b") as log:
        status = _status([str(python), *step.arguments], mine, log, min(step.limit_s, left_s))
        log.seek(0)
        tail = log.read().decode(errors="replace")[-TAIL:]
    found = _read(rows)
    if status == "passed" and not all(row.get("ok", True) for row in found):
        status = "wrong"
    return Outcome(step.name, status, round(time.monotonic() - begun, 1), found, tail)


def _status(command: Sequence[str], environment: dict[str, str], log: Any, limit_s: float) -> str:
    child = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        code = child.wait(limit_s)
    except subprocess.TimeoutExpired:
        return f"stopped after {limit_s:.0f} s"
    finally:
        _end(child)
    return "passed" if code == 0 else f"failed with {code}"


def _end(child: subprocess.Popen[bytes]) -> None:
    """The child, which is asked first, and whatever it has left behind in its group."""
    with suppress(ProcessLookupError, subprocess.TimeoutExpired):
        child.terminate()
        child.wait(GRACE_S)
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _read(path: Path) -> list[dict[str, Any]]:
    """Whole lines only: the last one may be cut short."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]
