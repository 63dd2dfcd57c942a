"""A child process whose library does what the uploaded file says, for tests of everything around the library.

The file is a valid ONNX envelope whose graph bytes are JSON: `{"inspect": step, "analyze": step}`.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

from app.lipschitz.errors import LipschitzError
from app.worker.loop import Progress, serve


def instructions(data: bytes) -> dict[str, Any]:
    """The JSON behind the envelope `08 08 3a <length>`."""
    start = re.search(rb'\{["}]', data)  # the length before may hold a brace of its own
    assert start
    return json.loads(data[start.start() :].rstrip(b"\0"))


def sleep(step: dict[str, Any], progress: Progress) -> None:
    progress({"method": "fake", "phase": "sleeping", "done": 0, "total": 1})
    time.sleep(step["seconds"])


def sleep_in_native_code(step: dict[str, Any], _progress: Progress) -> None:
    ctypes.PyDLL(None).sleep(step["seconds"])  # PyDLL keeps the GIL: no signal handler of Python's could run


def tick(step: dict[str, Any], progress: Progress) -> None:
    for index in range(step["times"]):
        progress({"method": "fake", "phase": "ticking", "done": index, "total": step["times"]})
        time.sleep(step["every"])


def refuse(step: dict[str, Any], _progress: Progress) -> None:
    error = LipschitzError(step["detail"])
    error.slug = step["slug"]
    raise error


def crash(step: dict[str, Any], _progress: Progress) -> None:
    os.kill(os.getpid(), getattr(signal, step["signal"]))
    time.sleep(60)


def leave(step: dict[str, Any], _progress: Progress) -> None:
    os._exit(step["status"])


def exhaust(_step: dict[str, Any], _progress: Progress) -> None:
    raise MemoryError


def blunder(_step: dict[str, Any], _progress: Progress) -> None:
    raise ZeroDivisionError("a defect")


def babble(_step: dict[str, Any], _progress: Progress) -> None:
    os.write(PIPE, b"this is no message\n")


def print_much(_step: dict[str, Any], _progress: Progress) -> None:
    print("libraries print")


STEPS = {
    step.__name__: step
    for step in (
        sleep,
        sleep_in_native_code,
        tick,
        refuse,
        crash,
        leave,
        exhaust,
        blunder,
        babble,
        print_much,
    )
}
PIPE = os.dup(1)


class FakeLibrary:
    """Follows instructions, and writes down each analysis that it finishes."""

    def describe(self) -> dict[str, Any]:
        device = "cuda" if os.environ["CUDA_VISIBLE_DEVICES"] else "cpu"
        policy = json.loads(sys.argv[1])
        return {"device": device, "torch": "none", "confinement": "none", "details": {"policy": policy}}

    def inspect(self, data: bytes) -> dict[str, Any]:
        told = instructions(data)
        perform(told.get("inspect"), lambda _: None)
        tensor = {"name": "x", "datatype": "FP32", "shape": [-1, 2]}
        return {
            "format": "onnx",
            "inputs": [tensor],
            "outputs": [tensor],
            "parameters": 3,
            "operators": {"Gemm": 1},
            "unsupported": [],
            "warnings": [],
        }

    def graph(self, data: bytes, request: dict[str, Any]) -> dict[str, Any]:
        perform(instructions(data).get("graph"), lambda _: None)
        return {"nodes": [], "inputs": [], "outputs": [], "node_count": 0, "truncated": False}

    def analyze(
        self, data: bytes, request: dict[str, object], progress: Progress, dataset: bytes | None
    ) -> dict[str, Any]:
        told = instructions(data)
        perform(told.get("analyze"), progress)
        if "ledger" in told:
            with Path(told["ledger"]).open("a") as ledger:
                ledger.write(f"{request['seed']}\n")
        value = float("inf") if told.get("infinite") else 2.0
        rows = None if dataset is None else hashlib.sha256(dataset).hexdigest()
        result = {"upper": {"value": value}, "echo": request, "pid": os.getpid(), "dataset": rows}
        return {"result": result, "witness": told.get("witness"), "certificate": told.get("certificate")}


def perform(step: dict[str, Any] | None, progress: Progress) -> None:
    if step is not None:
        STEPS[step["do"]](step, progress)


if __name__ == "__main__":
    serve(FakeLibrary)
