"""onnxruntime is loaded without its telemetry, and says nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

READ = "Path('examples/iris.onnx').read_bytes()"
USE = f"from app.lipschitz import ingest; from pathlib import Path; ingest.inspect({READ})"


def test_nothing_is_written_below_home_and_nothing_is_said(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", USE], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.rglob("*")) == []
