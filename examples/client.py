"""Ask a running service for a bracket: upload a model, submit it with a gate, follow the job, tell the verdict.

.venv/bin/python -m examples.client http://127.0.0.1:8000 examples/iris.onnx --max-upper 12

The exit status is that of `lipserve analyze`: 0 pass, 1 fail, 2 inconclusive, 3 error.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
from lipserve.client import Client, Job, Refused, Unexpected
from lipserve.contract.progress import Progress
from lipserve.contract.result import Bound, ResultView

STATUS = {"pass": 0, "fail": 1, "inconclusive": 2}
ERROR = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Analyze one model; returns the exit status."""
    parser = argparse.ArgumentParser(description="One model, one gate, one exit status.")
    parser.add_argument("service", help="URL of the service; its key, if it wants one, is read from LIPSERVE_KEY")
    parser.add_argument("model", type=Path, help="ONNX, TorchScript or torch.export file")
    parser.add_argument("--max-upper", type=float, required=True, help="the gate: largest certified upper bound")
    parser.add_argument("--budget", type=float, default=30.0, help="seconds that the methods share")
    options = parser.parse_args(arguments)
    try:
        job = analyzed(options.service, options.model, options.max_upper, options.budget)
    except (Refused, Unexpected, httpx.HTTPError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return ERROR
    if job.result is None:
        print(f"error: the job {job.status}: {job.error.detail if job.error else ''}", file=sys.stderr)
        return ERROR
    print(bracket(job.result))
    print(f"gate: {job.verdict}")
    return STATUS.get(str(job.verdict), ERROR)


def analyzed(service: str, model: Path, max_upper: float, budget_s: float) -> Job:
    """The finished job; the model is uploaded once, however often it is analysed."""
    with Client(service, os.environ.get("LIPSERVE_KEY")) as client:
        model_id = client.upload(model)
        request = {"methods": "auto", "budget_s": budget_s, "gate": {"max_upper": max_upper}}
        job = client.submit(model_id, request)
        print(f"job {job.id} of model {model_id[:12]}")
        return client.finished(job.id, on_progress=show, model=model_id)


def show(progress: Progress) -> None:
    """One line for every report of progress: where the job is, and the bracket so far."""
    place = " ".join(part for part in (progress.method, progress.phase) if part)
    ends = [f"{name} {end:.6g}" for name, end in (("lower", progress.lower), ("upper", progress.upper)) if end]
    print("  " + ", ".join([place, *ends]))


def bracket(result: ResultView) -> str:
    """The two ends with the methods that gave them; an end may be missing."""
    return f"{shown(result.lower)} <= Lipschitz constant <= {shown(result.upper)}"


def shown(end: Bound | None) -> str:
    """One end of the bracket, with the method that gave it."""
    if end is None or end.value is None:
        return "unknown"
    return f"{end.value:.10g} ({end.method}, {end.guarantee})"


if __name__ == "__main__":
    sys.exit(main())
