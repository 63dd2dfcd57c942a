"""`lipserve verify`: exit status, text, JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.cli import main
from tests.lipschitz.certificate.models import certified, changed
from tests.lipschitz.onnx_networks import mlp, published


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    model, certificate = tmp_path / "m.onnx", tmp_path / "m.json"
    model.write_bytes(mlp(*published("lipsdp_random")))
    certificate.write_text(json.dumps(certified(model.read_bytes(), "lipsdp")[0]))
    return str(model), str(certificate)


@pytest.mark.slow
def test_valid(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", *files]) == 0
    assert "VALID: the 2-norm Lipschitz constant is at most 36.48" in capsys.readouterr().out


@pytest.mark.slow
def test_json(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", *files, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["valid"] is True
    assert answer["pieces"][0]["check"] == "independent"


@pytest.mark.slow
def test_invalid(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(files[1])
    path.write_text(json.dumps(changed(json.loads(path.read_text()), lambda c: c.update(bound=1.0))))
    assert main(["verify", *files]) == 1
    assert "less than the product" in capsys.readouterr().out


def test_error(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", files[0], files[1] + ".missing"]) == 3
    assert "missing" in capsys.readouterr().err
