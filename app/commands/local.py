"""An analysis without a server: one child process, confined as the service's are, for one model."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from app.api.requests import AnalysisFields, parse_fields
from app.client import Progress
from app.errors import WorkerCrashed, from_slug
from app.jobs.child import Child, ChildDied, ProtocolBroken
from app.jobs.devices import slot_devices
from app.jobs.nursery import Nursery, StartFailed
from app.settings import Settings

LISTEN_S = 0.2


def analyze_here(model: Path, dataset: Path | None, request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """`{"result", "witness", "certificate"}` of the model; Problem where there is none, OSError without the file."""
    fields = parse_fields(AnalysisFields, request).canonical()
    settings = Settings()
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("rb")) for path in (model, dataset) if path is not None]
        progress({"phase": "starting"})
        try:
            warm = Nursery(settings).start(slot_devices(settings)[0], lambda: False)
            stack.callback(warm.child.kill)
            sizes = {"model": model.stat().st_size, "dataset": None if dataset is None else dataset.stat().st_size}
            warm.child.send({"kind": "analyze", "request": fields, "sizes": sizes}, files)
            return _answer(warm.child, progress)
        except (StartFailed, ChildDied, ProtocolBroken) as error:
            raise WorkerCrashed(f"The process that ran the analysis {error}.") from error


def _answer(child: Child, progress: Progress) -> dict[str, Any]:
    while True:
        match child.receive(LISTEN_S):
            case {"type": "progress", "progress": dict(told)}:
                progress(told)
            case {"type": "error", "slug": str(slug), "detail": str(detail)}:
                raise from_slug(slug, detail)
            case dict(told) if told.get("type") == "result":
                return told
            case None:
                continue
            case _:
                raise ProtocolBroken("sent a message of an unknown kind")
