"""What is installed is named `lipserve`: a user's own app.py and ours do not meet."""

import ast
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.lipschitz.onnx_networks import mlp

BUILD = "import setuptools.build_meta as backend, sys; print(backend.build_wheel(sys.argv[1]))"
HOSTILE = "raise SystemExit(1)"
SOURCES = sorted((ROOT / "app").rglob("*.py"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the wheel was unpacked; built in a folder beside links to the sources."""
    place = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, place)
    (place / "app").symlink_to(ROOT / "app")
    built = [sys.executable, "-W", "ignore", "-c", BUILD, str(place)]
    ran = subprocess.run(built, cwd=place, capture_output=True, text=True, check=True)
    with zipfile.ZipFile(place / ran.stdout.split()[-1]) as archive:
        archive.extractall(place / "installed")
    return place / "installed"


def test_nothing_of_us_is_imported_by_its_name() -> None:
    absolute = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] == "app")
        or (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "app" for alias in node.names))
    ]
    assert not absolute


def test_the_wheel_holds_one_package_whole(installed: Path) -> None:
    assert {path.name for path in installed.iterdir() if path.suffix != ".dist-info"} == {"lipserve"}
    ours, theirs = (
        {path.relative_to(top) for path in top.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
        for top in (ROOT / "app", installed / "lipserve")
    )
    assert ours == theirs
    [entry] = installed.glob("*.dist-info/entry_points.txt")
    assert "lipserve = lipserve.cli:main" in entry.read_text()


def test_a_command_in_a_folder_with_an_app_of_its_own(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(HOSTILE)
    (tmp_path / "m.onnx").write_bytes(mlp([np.eye(2), np.eye(2)]))
    program = "import sys; from lipserve.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "analyze", "m.onnx", "--methods", "autolip", "--max-upper", "1e9"]
    environment = os.environ | {"PYTHONPATH": f".:{installed}"}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
