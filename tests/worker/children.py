"""Confined children for tests, started the way that a supervisor starts them: as root, and as an ordinary user."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.jobs import forkserver
from app.jobs.child import Sink
from app.jobs.child_factory import ChildFactory, WarmChild
from app.jobs.devices import spare_device
from app.settings import Settings

ORDINARY = 4321
ANSWER_S = 60.0

PLAIN: dict[str, Any] = {
    "methods": ["autolip"],
    "inputs": None,
    "input": None,
    "output": None,
    "norm": "2",
    "domain": {"kind": "all"},
    "target": {"kind": "all"},
    "options": {},
    "budget_s": 5.0,
    "seed": 0,
    "gate": None,
    "certify": False,
}


@contextmanager
def started(module: str, tmp_path: Path, identity: str = "", **settings: Any) -> Iterator[WarmChild]:
    """A child of that module, run by `root`, by an `ordinary` user, or by whoever runs the tests."""
    if identity == "root" and os.geteuid() != 0:
        pytest.skip("the tests do not run as root")
    with pytest.MonkeyPatch.context() as patch:
        if identity == "ordinary" and os.geteuid() == 0:
            patch.setattr(forkserver.sys, "executable", str(ordinary_interpreter(tmp_path)))
        chosen = Settings(worker_module=module, data_dir=tmp_path / "data", **settings)
        factory = ChildFactory(chosen)
        try:
            warm = factory.start(spare_device(), lambda: False)
        finally:
            factory.close()
    try:
        yield warm
    finally:
        warm.child.kill()


def ordinary_interpreter(folder: Path) -> Path:
    """A program that runs this version of Python, with these packages, as a user without any rights."""
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    script, packages = folder / "python", sysconfig.get_path("purelib")
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for interpreter in (sys.executable, f"/usr/bin/{name}", f"/usr/local/bin/{name}"):
        run = f"exec setpriv --reuid={ORDINARY} --regid={ORDINARY} --clear-groups --inh-caps=-all {interpreter}"
        script.write_text(f'#!/bin/sh\nPYTHONPATH="$PYTHONPATH:{packages}" {run} "$@"\n')
        script.chmod(0o755)
        probe = [script, "-P", "-c", "import os, app, numpy; assert os.getuid()"]
        environment = os.environ | {"PYTHONPATH": str(forkserver.SOURCE_ROOT)}
        if subprocess.run(probe, cwd="/", env=environment, capture_output=True).returncode == 0:
            return script
    pytest.skip("no Python here that an ordinary user could run with these packages")


def ask(warm: WarmChild, kind: str, data: bytes, **request: Any) -> dict[str, Any]:
    """`{"result": ...}`, or the error. One child captures and bounds here, which the service never lets it."""
    if kind == "inspect":
        return told(warm, kind, {"capture": False}, {"model": data})
    artifact = bytearray()
    captured = told(warm, "capture", {"inputs": request.get("inputs")}, {"model": data}, artifact)
    if "result" not in captured:
        return captured
    question = {"request": PLAIN | request, "model": "0" * 64}
    return told(warm, kind, question, {"artifact": bytes(artifact)})


def told(
    warm: WarmChild, kind: str, request: dict[str, Any], files: dict[str, bytes], artifact: bytearray | None = None
) -> dict[str, Any]:
    """What the child says to one question; progress is left out. ChildDied where it dies."""
    answers = ("progress", "result", "inspection", "graph", "artifact", "error")
    sinks = {name: Sink(bytearray().extend, 2**30) for name in ("witness", "certificate")}
    sinks["artifact"] = Sink((bytearray() if artifact is None else artifact).extend, 2**30)
    warm.child.ask(kind, request, {name: io.BytesIO(file) for name, file in files.items()}, answers, sinks)
    deadline = time.monotonic() + ANSWER_S
    while time.monotonic() < deadline:
        message = warm.child.receive(0.1)
        if message is not None and message.kind != "progress":
            return {"type": "error"} | message.body if message.kind == "error" else {"result": message.body}
    raise TimeoutError
