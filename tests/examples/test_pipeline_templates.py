"""The steps of deploy/github/action.yml and deploy/gitlab/lipserve.yml, run as runners do, against real services."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.client.conftest import installed, wheel
from tests.conftest import ROOT, RunningService
from tests.effort import sampled
from tests.examples.test_gate import IRIS, JOB, RESULT, WRONG, service_that_answers, steep

__all__ = ["installed", "wheel"]

ACTION = yaml.safe_load((ROOT / "deploy" / "github" / "action.yml").read_text())
TEMPLATE = yaml.safe_load((ROOT / "deploy" / "gitlab" / "lipserve.yml").read_text())[".lipserve"]
INSTALL, GATE = ACTION["runs"]["steps"]
LIMIT = "--max-upper 12 --methods exact"
PLACES = ["github", "gitlab"]
each_place = pytest.mark.parametrize("place", ["github", pytest.param("gitlab", marks=pytest.mark.slow)])
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("LIPSERVE_")}


def inputs_of(given: dict[str, str]) -> dict[str, str]:
    """The step's environment, its expressions evaluated."""
    inputs = {name: field.get("default", "") for name, field in ACTION["inputs"].items()} | given

    def value(expression: str) -> str:
        [name, variable] = re.fullmatch(r"\$\{\{ inputs\.(\w+)(?: \|\| env\.(\w+))? \}\}", expression).groups()
        return inputs[name] or (os.environ.get(variable, "") if variable else "")

    return {name: value(expression) for name, expression in GATE["env"].items()}


def run(place: str, url: str, model: Path, client: Path, options: str = LIMIT, **given: str) -> Any:
    """The gate's step in the folder of the model; its exit status, texts, and the files that it wrote."""
    temporary = model.parent.parent / "temporary"
    temporary.mkdir(exist_ok=True)
    if not (temporary / "lipserve-client").exists():
        (temporary / "lipserve-client").symlink_to(client)
    own = {"RUNNER_TEMP": temporary, "TMPDIR": temporary}
    own |= {"GITHUB_OUTPUT": temporary / "output", "GITHUB_STEP_SUMMARY": temporary / "summary"}
    own |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    if place == "github":
        own |= inputs_of({"model": model.name, "options": options, "url": url} | given)
        step = GATE["run"]
    else:
        own |= TEMPLATE["variables"] | {f"BOUND_{name.upper()}": value for name, value in given.items()}
        own |= {"BOUND_MODEL": model.name, "BOUND_OPTIONS": options, "LIPSERVE_URL": url}
        own |= {"BOUND_PYTHON": sys.executable, "PYTHONPATH": temporary / "lipserve-client"}
        [step] = TEMPLATE["script"]
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step]
    environment = CLEAN | {name: str(value) for name, value in own.items()}
    return subprocess.run(command, cwd=model.parent, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """In a folder like that of a build, where files of earlier runs lie and modules with names of others'."""
    folder = tmp_path / "build"
    folder.mkdir()
    shutil.copy(IRIS, folder / "model.onnx")
    (folder / "bracket.json").write_text(json.dumps(RESULT))
    for name in ("json.py", "httpx.py", "app.py", "lipserve_client.py"):
        (folder / name).write_text("raise SystemExit(0)\n")
    return folder / "model.onnx"


def outputs(model: Path) -> dict[str, str]:
    """What the action's last run handed on."""
    lines = (model.parent.parent / "temporary" / "output").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("place", PLACES)
def test_a_second_model_in_the_folder_has_a_verdict_of_its_own(
    library_service: RunningService, model: Path, installed: Path, place: str
) -> None:
    for make, status in ((lambda: None, 0), (lambda: steep(model), 1)):
        make()
        done = run(place, library_service.url, model, installed)
        assert done.returncode == status, done.stderr
        if place == "github":
            told = outputs(model)
            assert told["verdict"] == ("fail" if status else "pass")
            result = json.loads(Path(told["result"]).read_text())
            assert float(told["lower"]) <= float(told["upper"]) == result["upper"]["value"]
            assert "Lipschitz bound" in (model.parent.parent / "temporary" / "summary").read_text()
        else:
            result = json.loads((model.parent / "bracket.json").read_text())
        assert result["verdict"] == ("fail" if status else "pass")


@each_place
def test_two_models_are_compared(library_service: RunningService, model: Path, installed: Path, place: str) -> None:
    shutil.copy(model, model.parent / "old.onnx")
    done = run(place, library_service.url, model, installed, "--max-difference 0.1 --box 0 1", other="old.onnx")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("place", "wrong"), sampled(PLACES, WRONG, every=5))
def test_no_other_answer_passes_and_no_earlier_file_is_left(
    model: Path, installed: Path, place: str, wrong: str
) -> None:
    """Another job's answer, a page of a proxy, a result without a verdict."""
    with service_that_answers(WRONG[wrong]) as url:
        done = run(place, url, model, installed)
    assert done.returncode == 3
    assert not (model.parent / "bracket.json").exists() or place == "github"
    assert not (model.parent.parent / "temporary" / "output").exists()


@each_place
def test_it_says_why_the_service_refuses(model: Path, installed: Path, place: str) -> None:
    with service_that_answers(JOB, submitted=(422, {"detail": "The file is no model."})) as url:
        done = run(place, url, model, installed)
    assert (done.returncode, "The file is no model." in done.stderr) == (3, True)


@pytest.mark.parametrize(
    ("place", "given", "status"), [("github", {}, 2), ("github", {"inconclusive": "warn"}, 0), ("gitlab", {}, 2)]
)
def test_a_bracket_that_does_not_decide(
    model: Path, installed: Path, place: str, given: dict[str, str], status: int
) -> None:
    with service_that_answers(JOB | {"result": RESULT | {"verdict": "inconclusive"}}) as url:
        done = run(place, url, model, installed, **given)
    assert done.returncode == status, done.stderr


@each_place
def test_inputs_are_no_shell(model: Path, installed: Path, place: str) -> None:
    """A file's name and an option reach the command as they are."""
    hostile = model.rename(model.parent / "--json $(touch pwned);`touch pwned` *.onnx")
    with service_that_answers(JOB) as url:
        assert run(place, url, hostile, installed).returncode == 0
        assert run(place, url, hostile, installed, "--max-upper 12 $(touch${IFS}pwned) *").returncode == 3
    assert not (model.parent / "pwned").exists()


def test_nothing_of_the_caller_is_written_into_a_step() -> None:
    assert not [step for step in ACTION["runs"]["steps"] if "${{" in step["run"]]


@pytest.mark.slow
def test_the_action_installs_the_client(installed: Path, tmp_path: Path) -> None:
    """Beside the packages of the build, from the repository that the action lies in."""
    shutil.copytree(ROOT / "client", tmp_path / "client", ignore=shutil.ignore_patterns("build", "*.egg-info"))
    (tmp_path / "app").symlink_to(ROOT / "app")
    own = {"RUNNER_TEMP": str(tmp_path), "GITHUB_ACTION_PATH": str(tmp_path / "deploy" / "github")}
    own |= {"PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    own |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    (tmp_path / "deploy" / "github").mkdir(parents=True)
    command = ["bash", "-e", "-c", INSTALL["run"]]
    done = subprocess.run(command, cwd=tmp_path, env=CLEAN | own, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "lipserve-client" / "lipserve_client" / "cli.py").is_file()
