"""Traces, only where they are wanted."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import httpx
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from app import observability
from app.main import create_app
from app.server import DrainingServer
from app.settings import Settings
from tests.conftest import ROOT, eventually, fake_model, free_port

HEAVY = tuple(f"opentelemetry.{part}" for part in ("sdk", "instrumentation", "exporter"))
"""What the framework itself never imports."""


def test_a_submitted_job_is_a_span_of_its_request(tmp_path: Path) -> None:
    exporter = InMemorySpanExporter()
    settings = Settings(data_dir=tmp_path, worker_module="tests.jobs.fake_worker", port=free_port())
    service = create_app(settings)
    observability.trace(service, exporter)
    server = DrainingServer(service, settings)
    thread = threading.Thread(target=server.run)
    thread.start()
    eventually(lambda: server.started, bool)
    with httpx.Client(base_url=f"http://127.0.0.1:{settings.port}", timeout=60) as client:
        job = client.post("/v1/analyze", content=fake_model(test="traced"), headers={"Prefer": "wait=30"}).json()
        client.get("/livez")
    server.should_exit = True
    thread.join()
    assert len(exporter.get_finished_spans()) == 2
    spans = {span.name: span for span in exporter.get_finished_spans()}
    request, submission = spans["POST /v1/analyze"], spans["submit job"]
    assert submission.parent is not None
    assert submission.parent.span_id == request.context.span_id
    assert submission.attributes is not None
    assert submission.attributes["lipserve.job"] == job["id"]
    assert request.resource.attributes["service.name"] == "lipserve"


def test_nothing_of_it_is_imported_unless_it_is_on() -> None:
    code = (
        "import sys; from app.main import create_app; from app.settings import Settings; "
        "create_app(Settings(otel={!r})); "
        "print(any(name.startswith({!r}) for name in sys.modules))"
    )
    for is_on in (False, True):
        shown = subprocess.run(
            [sys.executable, "-c", code.format(is_on, HEAVY)], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert shown.stdout.strip() == str(is_on)
