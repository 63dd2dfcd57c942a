"""The client's own package: built from the service's sources, small, and free of the service."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import app
from tests.conftest import RunningService, fake_model
from tests.lipschitz.onnx_networks import mlp

HEAVY = ("app", "torch", "numpy", "onnx", "fastapi", "sqlalchemy")


def run(installed: Path, *arguments: str, url: str = "") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(installed), "LIPSERVE_URL": url}
    return subprocess.run(
        [sys.executable, *arguments], cwd=installed, env=environment, capture_output=True, text=True, check=False
    )


def test_the_wheel_holds_one_package_and_is_small(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(name for name in names if name.endswith("/METADATA"))).decode()
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"lipserve_client"}
    needed = {line.split()[1].partition(">")[0] for line in metadata.splitlines() if line.startswith("Requires-Dist:")}
    assert needed == {"httpx", "pydantic"}
    assert f"Version: {app.__version__}" in metadata
    assert wheel.stat().st_size < 200_000


def test_it_imports_nothing_of_the_service_nor_torch(installed: Path) -> None:
    program = "import sys, lipserve_client, lipserve_client.cli; print(json.dumps(sorted(sys.modules)))"
    ran = run(installed, "-c", f"import json\n{program}")
    loaded = {name.partition(".")[0] for name in json.loads(ran.stdout)} if ran.returncode == 0 else {ran.stderr}
    assert not loaded & set(HEAVY), ran.stderr
    assert "lipserve_client" in loaded


def test_it_has_no_import_of_the_service_left(installed: Path) -> None:
    texts = [path.read_text() for path in (installed / "lipserve_client").rglob("*.py")]
    assert len(texts) > 10
    assert not [text for text in texts if "from app" in text or "import app" in text]


def test_it_analyzes_and_compares(installed: Path, library_service: RunningService, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    weights = [draw.normal(size=(5, 3)), draw.normal(size=(2, 5))]
    (tmp_path / "a.onnx").write_bytes(mlp(weights))
    (tmp_path / "b.onnx").write_bytes(mlp([weights[0], weights[1] + 1e-3]))
    a, b = str(tmp_path / "a.onnx"), str(tmp_path / "b.onnx")
    command, url = ("-m", "lipserve_client"), library_service.url
    found = run(installed, *command, "analyze", a, "--methods", "autolip", "--max-upper", "1e9", url=url)
    assert (found.returncode, "gate: pass" in found.stdout) == (0, True), found.stderr
    asked = ("--request", '{"methods": ["autolip"]}', "--box", "-1", "1", "--max-difference", "1e-9", "--json")
    found = run(installed, *command, "compare", a, b, *asked, url=url)
    assert found.returncode == 1, found.stderr
    assert json.loads(found.stdout)["difference"]["lower"]["value"] > 1e-9


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:1"])
def test_what_does_not_work_is_an_error(installed: Path, url: str, tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(fake_model(test="client"))
    found = run(installed, "-m", "lipserve_client", "analyze", str(model), url=url)
    assert found.returncode == 3
    assert found.stderr.startswith("lipserve-client: ")
