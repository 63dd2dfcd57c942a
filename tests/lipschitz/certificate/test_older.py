"""Certificates that older versions wrote are still valid: those of examples/iris.onnx, format versions 2 and 3."""

from pathlib import Path

import pytest

from app.lipschitz.files import verify
from tests.conftest import ROOT

IRIS = (ROOT / "examples" / "iris.onnx").read_bytes()
WRITTEN = sorted(Path(__file__).parent.glob("written_by_version_*/*.json"))


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: f"{path.parent.name[-1]}-{path.stem}")
def test_they_are_still_valid(path: Path) -> None:
    answer = verify(IRIS, path.read_bytes())
    assert (answer["valid"], answer["check"], answer["method"]) == (True, "independent", path.stem), answer["reasons"]


def test_there_are_some() -> None:
    assert [path.stem for path in WRITTEN] == ["autolip", "lipsdp", "seqlip", "autolip", "exact", "lipsdp", "seqlip"]
