"""The snippets of docs/pipelines.md do what the page says, and what it names exists."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from app.settings import Settings
from tests.conftest import ROOT, RunningService, eventually, fake_model, free_port

PAGE = (ROOT / "docs" / "pipelines.md").read_text()
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
MLFLOW_OWN = {
    "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS",
    "MLFLOW_WEBHOOK_ALLOWED_SCHEMES",
    "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY",
}


def snippets(language: str) -> list[str]:
    return [text for found, text in FENCE.findall(PAGE) if found == language]


def steps() -> dict[str, str]:
    github, gitlab = map(yaml.safe_load, snippets("yaml"))
    return {"github": github["jobs"]["bound"]["steps"][-1]["run"], "gitlab": gitlab["bound"]["script"][0]}


@pytest.mark.parametrize(
    ("place", "limit", "status"),
    [
        ("github", "12", 0),
        pytest.param("github", "11", 1, marks=pytest.mark.slow),
        pytest.param("gitlab", "12", 0, marks=pytest.mark.slow),
        ("gitlab", "11", 1),
    ],
)
def test_the_gate_stops_the_build(
    library_service: RunningService, tmp_path: Path, place: str, limit: str, status: int
) -> None:
    step = steps()[place]
    assert "--max-upper 12" in step
    (tmp_path / "model.onnx").write_bytes((ROOT / "examples" / "iris.onnx").read_bytes())
    done = run(step.replace("--max-upper 12", f"--max-upper {limit}"), library_service, tmp_path)
    assert done.returncode == status, done.stderr
    file = tmp_path / "bracket.json"
    if file.exists():
        assert json.loads(file.read_text())["verdict"] == ("fail" if status else "pass")
    else:
        assert f"gate: {'fail' if status else 'pass'}" in done.stdout


@pytest.mark.parametrize("place", ["github", "gitlab"])
def test_the_gate_stops_on_what_is_no_model(library_service: RunningService, tmp_path: Path, place: str) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    done = run(steps()[place], library_service, tmp_path)
    assert done.returncode == 3
    assert "The file is" in done.stderr


def run(step: str, service: RunningService, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"LIPSERVE_URL": service.url, "LIPSERVE_KEY": "any", "PATH": path}
    return subprocess.run(
        ["bash", "-c", step], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def test_the_receiver(tmp_path: Path) -> None:
    [source] = [text for text in snippets("python") if "standardwebhooks" in text]
    port = free_port()
    service = RunningService(
        tmp_path / "data", outbound_allow=f"127.0.0.1:{port}", poll_s=0.1, webhook_pauses_s="[0.2, 1]"
    )
    service.start()
    try:
        environment = os.environ | {
            "LIPSERVE_WEBHOOK_SECRET": service.client.get("/v1/webhooks/secret").json()["secret"],
            "PORT": str(port),
        }
        output = (tmp_path / "out").open("wb")
        with subprocess.Popen(
            [sys.executable, "-c", source], env=environment, stdout=output, stderr=output
        ) as receiver:
            job = service.analyze(fake_model(), webhook_url=f"http://127.0.0.1:{port}/").json()["id"]
            eventually(lambda: (tmp_path / "out").read_text(), lambda text: f"job.succeeded {job}" in text, 20)
            forged = {"webhook-id": "x", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA"}
            assert service.client.post(f"http://127.0.0.1:{port}/", content=b"{}", headers=forged).status_code == 401
            receiver.terminate()
        output.close()
    finally:
        service.stop()


def test_every_setting_that_is_named_exists() -> None:
    prefixes = ("MLFLOW_", "HUGGINGFACE_", "WEBHOOK_", "HOOK_", "OUTBOUND_", "PUBLIC_")
    named = {name for name in re.findall(r"`([A-Z][A-Z_]+)", PAGE) if name.startswith(prefixes)} - MLFLOW_OWN
    assert len(named) > 10
    assert {name.lower() for name in named} <= set(Settings.model_fields)


def test_every_pause_that_is_named_is_the_default() -> None:
    units = {"s": 1, "min": 60, "h": 3600}
    fields = Settings.model_fields
    for field in ("webhook_pauses_s", "hook_pauses_s"):
        before = PAGE[: PAGE.index(f"(`{field.upper()}`)")]
        listed = re.findall(r"(\d+) (s|min|h)\b", before[before.rindex(" after ") :])
        assert [int(number) * units[unit] for number, unit in listed] == fields[field].default
