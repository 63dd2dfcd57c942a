"""The back-up of docs/operations.md: taken while the service works, and whole when it is restored."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, RunningService, fake_model

PAGE = (ROOT / "docs" / "operations.md").read_text()
[COMMANDS] = re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="needs the program sqlite3")
def test_a_back_up_of_a_working_service_can_be_restored(
    start_service: Callable[..., RunningService], tmp_path: Path
) -> None:
    service = start_service(lease_s=2)  # how long the restored job waits for the supervisor that was killed
    done = service.analyze(fake_model(name="done")).json()
    held = service.analyze(fake_model(analyze={"do": "tick", "times": 100, "every": 0.01}), wait=None).json()
    copy = tmp_path / "copy"
    environment = os.environ | {"LIPSERVE_DATA_DIR": str(service.data_dir), "BACKUP": str(copy)}
    ran = subprocess.run(["bash", "-c", COMMANDS], env=environment, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")
    service.kill()
    shutil.rmtree(service.data_dir)
    copy.rename(service.data_dir)
    service.start()
    again = service.client.get(f"/v1/jobs/{done['id']}").json()
    assert (again["status"], again["result"]) == ("succeeded", done["result"])
    assert service.finished(held["id"])["status"] == "succeeded"
    model = service.client.get(f"/v1/models/{done['model']}").json()["id"]
    assert service.client.post("/v1/jobs", json={"model": model, "seed": 7}).status_code == 202
