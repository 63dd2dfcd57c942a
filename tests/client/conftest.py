"""The client's wheel, and a folder that holds what it installs."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

BUILD = "import setuptools.build_meta as backend, sys; print(backend.build_wheel(sys.argv[1]))"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built in a copy of the folder beside the sources."""
    place = tmp_path_factory.mktemp("client")
    shutil.copytree(ROOT / "client", place / "client", ignore=shutil.ignore_patterns("build", "*.egg-info"))
    (place / "app").symlink_to(ROOT / "app")
    built = [sys.executable, "-W", "ignore", "-c", BUILD, str(place)]
    ran = subprocess.run(built, cwd=place / "client", capture_output=True, text=True, check=True)
    return place / ran.stdout.split()[-1]


@pytest.fixture(scope="session")
def installed(wheel: Path) -> Path:
    place = wheel.parent / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
    return place
