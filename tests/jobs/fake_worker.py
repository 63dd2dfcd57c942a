"""A child process whose library does what the uploaded file says, for tests of everything around the library.

The file is a valid ONNX envelope whose graph bytes are JSON: `{"inspect": step, "capture": step, "analyze": step}`.
Its captured graph is the file itself.
"""

from __future__ import annotations

import base64
import ctypes
import hashlib
import json
import os
import re
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.contract.frames import Header
from app.lipschitz.errors import InvalidArtifact, LipschitzError
from app.worker.loop import Progress, Voice, serve


def instructions(data: bytes) -> dict[str, Any]:
    """The JSON behind the envelope `08 08 3a <length>`."""
    start = re.search(rb'\{["}]', data)  # the length before may hold a brace of its own
    if start is None:  # random bytes may well begin as the envelope does
        raise InvalidArtifact("The bytes hold no instructions.")
    told: dict[str, Any] = json.JSONDecoder().raw_decode(data[start.start() :].decode("latin-1"))[0]
    return told


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


def refuse_once(step: dict[str, Any], progress: Progress) -> None:
    REFUSALS.append(step)
    if len(REFUSALS) % 2:
        refuse(step, progress)


REFUSALS: list[dict[str, Any]] = []


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


def say(step: dict[str, Any], _progress: Progress) -> None:
    """A message of the child's own making, whole in its form: `kind` and `body`, as text where it is no JSON."""
    body = step["body"] if isinstance(step["body"], str) else json.dumps(step["body"])
    for _ in range(step.get("times", 1)):
        header = Header(step["kind"], TURN[0], len(body.encode()))
        os.write(PIPE, header.encode() + body.encode())


TURN = ["0"]
"""Of the question that is being answered."""

STEPS = {
    step.__name__: step
    for step in (
        sleep,
        sleep_in_native_code,
        tick,
        refuse,
        refuse_once,
        crash,
        leave,
        exhaust,
        blunder,
        babble,
        print_much,
        say,
    )
}
PIPE = os.dup(1)


class FakeLibrary:
    """Follows instructions, and writes down each analysis that it finishes."""

    def describe(self) -> dict[str, Any]:
        device = "cuda" if os.environ["CUDA_VISIBLE_DEVICES"] else "cpu"
        policy = json.loads(sys.argv[1])
        return {"device": device, "torch": "none", "confinement": "none", "details": {"policy": policy}}

    def answer(self, kind: str, request: dict[str, Any], files: Mapping[str, bytes], voice: Voice) -> None:
        TURN[0] = voice.turn
        data = files["artifact" if "artifact" in files else "model"]
        if "artifact" in files and not data.startswith((b"\x08", b"PK")):
            raise InvalidArtifact("The bytes are no captured graph.")
        if kind == "inspect":
            voice.tell("inspection", self.inspect(data))
        if kind == "capture" or (kind == "inspect" and request["capture"]):
            perform(instructions(data).get("capture"), voice.report)
            voice.tell("artifact", {}, artifact=data)
        if kind == "graph":
            voice.tell("graph", self.graph(data, request))
        if kind == "verify":
            perform(instructions(data).get("verify"), lambda _: None)
            voice.tell("verdict", verdict(json.loads(files["certificate"]), request, data))
        if kind == "analyze":
            found = self.analyze(data, request["request"], voice.report, files.get("dataset"))
            voice.tell("result", found, **beside(instructions(data)))

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
        return {
            "graph": {"sha256": "0" * 64},
            "nodes": [],
            "inputs": [],
            "outputs": [],
            "node_count": 0,
            "truncated": False,
        }

    def analyze(
        self, data: bytes, request: dict[str, object], progress: Progress, dataset: bytes | None
    ) -> dict[str, Any]:
        told = instructions(data)
        perform(told.get("analyze"), progress)
        if "ledger" in told:
            with Path(told["ledger"]).open("a") as ledger:
                ledger.write(f"{request['seed']}\n")
        rows = None if dataset is None else hashlib.sha256(dataset).hexdigest()
        value = float("inf") if told.get("infinite") else told.get("value", 2.0)
        upper = {"value": value, "method": "fake", "guarantee": "certified"}
        return EMPTY | {"upper": upper, "echo": request, "pid": os.getpid(), "dataset": rows}


EMPTY: dict[str, Any] = {
    "norm": "2",
    "domain": {"kind": "all"},
    "target": {"kind": "all"},
    "upper": None,
    "lower": None,
    "ratio": None,
    "verdict": None,
    "estimates": [],
    "layers": [],
    "certificates": [],
    "model": {},
    "engine": {},
    "warnings": [],
}
"""A result in the contract's form that says nothing."""


def verdict(certificate: dict[str, Any], request: dict[str, Any], artifact: bytes) -> dict[str, Any]:
    """A bound is proved when the captured graph's is no larger."""
    value = instructions(artifact).get("value", 2.0)
    reasons = [] if value <= certificate["bound"] else [f"the bound is {value}"]
    checked = {"valid": not reasons, "reasons": reasons, "pieces": [], "check": "independent", "seconds": 0.0}
    return checked | {"bound": certificate["bound"], "method": "fake", "function": {"norm": "2"}, **request}


def beside(told: dict[str, Any]) -> dict[str, bytes]:
    """The files that the instructions name."""
    files = {} if told.get("witness") is None else {"witness": base64.b64decode(told["witness"])}
    certificate = told.get("certificate")
    return files if certificate is None else files | {"certificate": json.dumps(certificate).encode()}


def perform(step: dict[str, Any] | None, progress: Progress) -> None:
    if step is not None:
        STEPS[step["do"]](step, progress)


if __name__ == "__main__":
    serve(FakeLibrary)
