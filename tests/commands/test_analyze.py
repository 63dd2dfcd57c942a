"""`lipserve analyze`, as a pipeline runs it: exit statuses, JSON, certificate, with and without a server."""

import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from app.cli import main
from app.commands.show import summary
from app.contract.result import ResultView
from app.lipschitz.artifact import digest
from app.lipschitz.ingest import capture_artifact
from tests.command_line import lipserve
from tests.conftest import ROOT, RunningService
from tests.lipschitz.bundles import network, split
from tests.pages.results import layer, result

IRIS = ROOT / "examples" / "iris.onnx"
QUICK = ("--methods", "autolip,gradient", "--budget", "3")
"""AutoLip's bound of the model is 17.08, and gradient ascent finds at least 8."""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(params=["here", "server"])
def analyze(request: pytest.FixtureRequest) -> Run:
    """Here two children are started, which takes seconds."""
    if request.param == "here":
        return partial(lipserve, "analyze")
    return partial(lipserve, "analyze", url=request.getfixturevalue("library_service").url)


place = partial(pytest.mark.parametrize, "analyze", indirect=True)
mostly_by_a_server = place(argvalues=[pytest.param("here", marks=pytest.mark.slow), "server"])


@mostly_by_a_server
@pytest.mark.parametrize(("limit", "status"), [("17.5", 0), ("1", 1), ("16", 2)])
def test_the_gate_is_the_exit_status(analyze: Run, limit: str, status: int) -> None:
    done = analyze(str(IRIS), *QUICK, "--max-upper", limit)
    assert done.returncode == status, done.stderr
    assert f"gate: {['pass', 'fail', 'inconclusive'][status]}" in done.stdout


@pytest.mark.slow
@mostly_by_a_server
def test_json_and_the_certificate_are_what_the_api_gives(analyze: Run, tmp_path: Path) -> None:
    certificate = tmp_path / "certificate.json"
    done = analyze(str(IRIS), "--methods", "autolip", "--json", "--certificate", str(certificate))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["upper"]["value"] == pytest.approx(17.081988066341, rel=1e-9)
    assert lipserve("verify", str(IRIS), str(certificate)).returncode == 0


@mostly_by_a_server
def test_a_file_that_is_no_model_is_an_error(analyze: Run) -> None:
    done = analyze(str(ROOT / "pyproject.toml"))
    assert done.returncode == 3
    assert "The file is n" in done.stderr
    assert "what to do: Export the model" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((str(ROOT / "no-such-file.onnx"),), "No such file"),
        ((str(IRIS), "--methods", "magic"), "unknown method 'magic'"),
        ((str(IRIS), "--shape", "1,784"), "NAME=1,784"),
        ((str(IRIS), "--request", "[]"), "not a JSON object"),
        ((str(IRIS), "--request", '{"norm": "3"}'), "norm"),
    ],
)
def test_what_goes_wrong_is_said(analyze: Run, arguments: tuple[str, ...], words: str) -> None:
    done = analyze(*arguments)
    assert done.returncode == 3
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@mostly_by_a_server
def test_files_beside_the_model_go_with_it(analyze: Run, tmp_path: Path) -> None:
    files = split({"w": "weights/first.bin"}, seed=11)
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    done = analyze(str(tmp_path / "m.onnx"), "--methods", "autolip", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["graph"]["sha256"] == digest(capture_artifact(network(seed=11)))
    (tmp_path / "m.onnx.data").unlink()
    assert "m.onnx.data" in analyze(str(tmp_path / "m.onnx"), "--methods", "autolip").stderr


@mostly_by_a_server
def test_folders_and_archives_are_models(analyze: Run, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    for name, data in (split(seed=12) | {"README.md": b"..."}).items():
        (folder / "onnx" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "onnx" / name).write_bytes(data)
    expected = digest(capture_artifact(network(seed=12)))
    packed = [Path(shutil.make_archive(str(tmp_path / "net"), kind, folder)) for kind in ("zip", "gztar")]
    for model in (folder, *packed):
        done = analyze(str(model), "--methods", "autolip", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["graph"]["sha256"] == expected
    (folder / "other.onnx").write_bytes(network())
    assert "several models" in analyze(str(folder), "--methods", "autolip").stderr


def all_of(terminal: int) -> bytes:
    """What programs write to the terminal until the last of them has closed it."""
    shown = b""
    with os.fdopen(terminal, "rb", buffering=0) as screen, suppress(OSError):
        while piece := screen.read(4096):
            shown += piece
    return shown


def test_progress_is_for_terminals_and_the_result_for_pipes(library_service: RunningService) -> None:
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "app", "analyze", str(IRIS), *QUICK, "--json", "--max-upper", "16"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LIPSERVE_")}
    running = subprocess.Popen(command, cwd=ROOT, env=clean, stdout=subprocess.PIPE, stderr=end, text=True)
    os.close(end)
    shown = all_of(terminal)
    assert b"gradient" in shown
    result = json.loads(running.communicate()[0])
    assert (result["upper"]["method"], result["verdict"], running.returncode) == ("autolip", "inconclusive", 2)
    assert lipserve("analyze", str(IRIS), *QUICK, url=library_service.url).stderr == ""


def test_a_command_line_without_sense_is_an_error_and_not_inconclusive() -> None:
    with pytest.raises(SystemExit) as end:
        main(["analyze", "model.onnx", "--max-upper", "much"])
    assert end.value.code == 3


def test_a_server_that_is_not_there_is_an_error() -> None:
    done = lipserve("analyze", str(IRIS), "--server", "http://127.0.0.1:9")
    assert (done.returncode, "Traceback" in done.stderr) == (3, False)


def test_who_asks_a_service_does_not_import_it() -> None:
    code = "import sys; from app.cli import main; main(['analyze', 'm', '--server', 'http://127.0.0.1:9']); "
    code += "print({'fastapi', 'sqlalchemy', 'alembic'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout == "set()\n"


def test_names_are_text_and_nothing_else() -> None:
    told = result(layers=[layer(0, "[red]x[/red]\\[")], warnings=["[bold]w"])
    text = summary("[link]m", ResultView.model_validate(told))
    assert all(name in text for name in ("[red]x[/red]\\[", "warning: [bold]w", "[link]m"))
