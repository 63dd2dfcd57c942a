"""What examples/README.md lists is there and runs; tests/registries/test_mlflow.py runs all of the MLflow example."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from examples import client, train_regularized
from tests.conftest import ROOT, RunningService

README = (ROOT / "examples" / "README.md").read_text()
NAMED = re.findall(r"^\| `([^`]+)` \|", README, re.MULTILINE)
COMMANDS = re.findall(r"^    (\S.*)$", README, re.MULTILINE)
IRIS = str(ROOT / "examples" / "iris.onnx")


def run(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """As the README has it, with the environment that these tests run in."""
    words = command.replace(".venv/bin/", f"{Path(sys.executable).parent}/").split()
    given = os.environ | environment
    return subprocess.run(words, cwd=ROOT, env=given, capture_output=True, text=True, timeout=120)


def command_of(name: str) -> str:
    [found] = [command for command in COMMANDS if name in command]
    return found


def test_everything_is_listed_and_everything_listed_is_there() -> None:
    folder = ROOT / "examples"
    there = {path.name for path in folder.iterdir()} - {"README.md", "__pycache__", "__init__.py"}
    assert {name.split("/")[0] for name in NAMED} == there
    assert all((folder / name).is_file() for name in NAMED)
    assert len(COMMANDS) == len(NAMED)
    assert all(f"## {name.removesuffix('/run')}\n" in README for name in NAMED)


def test_the_model_passes_its_gate(library_service: RunningService) -> None:
    """The service is quicker than children that this command starts: tests/commands has those."""
    done = run(command_of("lipserve analyze"), LIPSERVE_URL=library_service.url)
    assert done.returncode == 0, done.stderr
    assert "gate: pass" in done.stdout
    assert "11.63435514" in done.stdout


def test_the_client_uploads_follows_and_prints_the_bracket(library_service: RunningService) -> None:
    done = run(command_of("examples.client").replace("http://127.0.0.1:8000", library_service.url))
    assert done.returncode == 0, done.stderr
    first, *progress, bracket, gate = done.stdout.splitlines()
    assert re.fullmatch(r"job \S+ of model [0-9a-f]{12}", first)
    assert progress
    assert all(line.startswith("  ") for line in progress)
    attained, certified = r"11\.63435\d+ \((exact|gradient), witnessed\)", r"11\.63435\d+ \(exact, certified\)"
    assert re.fullmatch(f"{attained} <= .* <= {certified}", bracket)
    assert gate == "gate: pass"


@pytest.mark.parametrize(("limit", "status"), [("12", 0), ("11", 1)])
def test_the_clients_exit_status_is_the_verdict(library_service: RunningService, limit: str, status: int) -> None:
    assert client.main([library_service.url, IRIS, "--max-upper", limit]) == status


def test_the_client_tells_errors_apart(library_service: RunningService, tmp_path: Path, capsys) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no model")
    for service, model in (
        (library_service.url, str(tmp_path / "m.onnx")),
        (library_service.url, str(tmp_path / "missing.onnx")),
        ("http://127.0.0.1:9", IRIS),
    ):
        assert client.main([service, model, "--max-upper", "12"]) == client.ERROR
        assert capsys.readouterr().err.startswith("error: ")


def test_the_script_is_a_gate_in_itself() -> None:
    """tests/examples/test_gate.py has it ask."""
    assert (ROOT / command_of("gate.sh").split()[0]).stat().st_mode & 0o111


def test_the_training_example_has_the_options_of_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    command = command_of("examples.train_regularized")
    assert " -m examples.train_regularized " in command
    with pytest.raises(SystemExit, match="0"):
        train_regularized.main(["--help"])
    shown = capsys.readouterr().out
    assert all(option in shown for option in re.findall(r"--[a-z]+", command))


def test_the_mlflow_example_is_a_program() -> None:
    assert run(f"bash -n {command_of('mlflow_hook')}").returncode == 0
    assert (ROOT / command_of("mlflow_hook")).stat().st_mode & 0o111
