"""An analysis without a server: one child process, confined as the service's are, for one model."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from app.api.requests import AnalysisFields, parse_fields
from app.client import Progress
from app.contract.messages import NoMessage, read_certificate
from app.errors import WorkerCrashed, from_slug
from app.jobs.child import Child, ChildDied, ProtocolBroken, Sink
from app.jobs.devices import slot_devices
from app.jobs.nursery import Nursery, StartFailed
from app.settings import Settings

LISTEN_S = 0.2


def analyze_here(model: Path, dataset: Path | None, request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """`{"result", "witness", "certificate"}` of the model; Problem where there is none, OSError without the file."""
    fields = parse_fields(AnalysisFields, request).canonical()
    settings = Settings()
    with ExitStack() as stack:
        paths = {"model": model} | ({} if dataset is None else {"dataset": dataset})
        files = {name: stack.enter_context(path.open("rb")) for name, path in paths.items()}
        progress({"phase": "starting"})
        try:
            warm = Nursery(settings).start(slot_devices(settings)[0], lambda: False)
            stack.callback(warm.child.kill)
            return _answer(warm.child, fields, files, progress)
        except (StartFailed, ChildDied, ProtocolBroken, NoMessage) as error:
            raise WorkerCrashed(f"The process that ran the analysis {error}.") from error


def _answer(child: Child, request: dict[str, Any], files: Mapping[str, BinaryIO], progress: Progress) -> dict[str, Any]:
    found = {name: bytearray() for name in ("witness", "certificate")}
    sinks = {name: Sink(file.extend, sys.maxsize) for name, file in found.items()}
    child.ask("analyze", request, files, ("progress", "result", "error"), sinks)
    while True:
        message = child.receive(LISTEN_S)
        if message is None:
            continue
        if message.kind == "progress":
            progress(message.body)
        elif message.kind == "error":
            raise from_slug(**message.body)
        else:
            kept = {name: bytes(found[name]) for name in message.files}
            certificate = read_certificate(kept["certificate"]) if "certificate" in kept else None
            return {"result": message.body, "witness": kept.get("witness"), "certificate": certificate}
