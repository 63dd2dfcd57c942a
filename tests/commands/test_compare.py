"""`lipserve compare`, without a server and with one."""

import json
from pathlib import Path

import numpy as np
import pytest

from app.cli import main
from tests.conftest import RunningService
from tests.lipschitz.onnx_networks import mlp


@pytest.fixture
def models(tmp_path: Path) -> tuple[Path, Path]:
    draw = np.random.default_rng(0)
    weights = [draw.normal(size=(5, 3)), draw.normal(size=(2, 5))]
    paths = tmp_path / "old.onnx", tmp_path / "new.onnx"
    paths[0].write_bytes(mlp(weights))
    paths[1].write_bytes(mlp([weights[0], weights[1] + 1e-3]))
    return paths


def request() -> list[str]:
    return ["--box", "-1", "1", "--budget", "5", "--request", '{"methods": ["autolip"]}']


def test_by_a_service(
    library_service: RunningService, models: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["compare", *map(str, models), "--server", library_service.url, *request()]
    assert main([*given, "--max-difference", "1"]) == 0
    said = capsys.readouterr().out
    assert "largest difference of old.onnx and new.onnx" in said
    assert "gate: pass" in said
    assert main([*given, "--max-difference", "1e-9", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["verdict"] == "fail"


@pytest.mark.slow
def test_here(models: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(models[0]), str(models[0])]) == 0
    assert "identical functions" in capsys.readouterr().out
    assert main(["compare", *map(str, models), *request()]) == 0
    assert "fc1" in capsys.readouterr().out


def test_a_file_that_is_not_there_is_an_error(models: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(models[0]), "nowhere.onnx", "--server", "http://127.0.0.1:1"]) == 3
    assert "lipserve compare:" in capsys.readouterr().err
