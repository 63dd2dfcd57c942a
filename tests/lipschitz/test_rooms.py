"""The order of the library's rooms is the order of their imports, and a certificate is checked without any solver."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.imports import imports

LIBRARY = ROOT / "app" / "lipschitz"

ROOMS = (
    "varint", "register", "errors", "bundle", "external_data", "foreign", "folder", "formats",
    "failures", "pace", "deadline", "device", "catalog",
    "operators", "domain",
    "artifact", "ingest",
    "network", "digits", "agreement",
    "dataset", "request",
    "bounds", "claims", "problem", "walk", "bracket", "formulation",
    "certificate",
    "lower", "lipsdp", "seqlip", "exact", "jacobian", "robustness",
    "methods", "mixed", "portfolio", "gate", "layers", "rounding", "report", "analysis", "baseline", "comparison",
    "graph", "regularizer", "files",
)  # fmt: skip
"""A room imports from those before it only."""

SOLVERS = ("lower", "lipsdp", "seqlip", "exact", "jacobian", "methods")


def room_of(module: str) -> str:
    return module.split(".")[2]


def files() -> list[Path]:
    return sorted(path for path in LIBRARY.rglob("*.py") if path != LIBRARY / "__init__.py")


def test_every_room_has_its_place() -> None:
    rooms = {path.relative_to(LIBRARY).parts[0].removesuffix(".py") for path in files()}
    assert rooms == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_one_way(room: str) -> None:
    place = ROOMS.index(room)
    mine = [path for path in files() if path.relative_to(LIBRARY).parts[0].removesuffix(".py") == room]
    climbs = [
        f"{path.relative_to(ROOT)}: {module}"
        for path in mine
        for module in imports(path)
        if module.startswith("app.lipschitz.") and ROOMS.index(room_of(module)) > place
    ]
    assert not climbs


def test_a_certificate_is_checked_without_a_solver() -> None:
    program = "import sys, app.lipschitz.certificate.verify; print(*sorted(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {room_of(name) for name in ran.stdout.split() if name.startswith("app.lipschitz.")}
    assert "certificate" in loaded
    assert not loaded & set(SOLVERS)
