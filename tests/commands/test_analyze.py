"""`lipserve analyze`, as a pipeline runs it: exit statuses, JSON, certificate, with and without a server."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from app.cli import main
from app.commands.show import summary
from tests.conftest import ROOT, RunningService

IRIS = ROOT / "examples" / "iris.onnx"
QUICK = ("--methods", "autolip,gradient", "--budget", "3")
"""AutoLip's bound of the model is 17.08, and gradient ascent finds at least 8."""

Run = Callable[..., subprocess.CompletedProcess[str]]


def lipserve(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LIPSERVE_")}
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments], cwd=ROOT, env=clean | environment, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def library_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    running = RunningService(tmp_path_factory.mktemp("commands") / "data", worker_module="app.worker")
    running.start()
    yield running
    running.stop()


@pytest.fixture(params=["here", "server"])
def analyze(request: pytest.FixtureRequest) -> Run:
    if request.param == "here":
        return lambda *arguments: lipserve("analyze", *arguments)
    url = request.getfixturevalue("library_service").url
    return lambda *arguments: lipserve("analyze", *arguments, LIPSERVE_URL=url)


@pytest.mark.parametrize(("limit", "status"), [("17.5", 0), ("1", 1), ("16", 2)])
def test_the_gate_is_the_exit_status(analyze: Run, limit: str, status: int) -> None:
    done = analyze(str(IRIS), *QUICK, "--max-upper", limit)
    assert done.returncode == status, done.stderr
    assert f"gate: {['pass', 'fail', 'inconclusive'][status]}" in done.stdout


def test_json_and_the_certificate_are_what_the_api_gives(analyze: Run, tmp_path: Path) -> None:
    certificate = tmp_path / "certificate.json"
    done = analyze(str(IRIS), "--methods", "autolip", "--json", "--certificate", str(certificate))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["upper"]["value"] == pytest.approx(17.081988066341, rel=1e-9)
    assert lipserve("verify", str(IRIS), str(certificate)).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((str(ROOT / "pyproject.toml"),), "The file is n"),
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


def all_of(terminal: int) -> bytes:
    """What programs write to the terminal until the last of them has closed it."""
    shown = b""
    with os.fdopen(terminal, "rb", buffering=0) as screen, suppress(OSError):
        while piece := screen.read(4096):
            shown += piece
    return shown


def test_progress_is_for_terminals_and_the_result_for_pipes(tmp_path: Path) -> None:
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "app", "analyze", str(IRIS), *QUICK, "--json"]
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=end, text=True)
    os.close(end)
    shown = all_of(terminal)
    assert b"gradient" in shown
    assert json.loads(running.communicate()[0])["upper"]["method"] == "autolip"
    assert lipserve("analyze", str(IRIS), *QUICK).stderr == ""


def test_a_command_line_without_sense_is_an_error_and_not_inconclusive() -> None:
    with pytest.raises(SystemExit) as end:
        main(["analyze", "model.onnx", "--max-upper", "much"])
    assert end.value.code == 3


def test_a_server_that_is_not_there_is_an_error() -> None:
    done = lipserve("analyze", str(IRIS), "--server", "http://127.0.0.1:9")
    assert (done.returncode, "Traceback" in done.stderr) == (3, False)


def test_names_are_text_and_nothing_else() -> None:
    layer = {"name": "[red]x[/red]\\[", "op": "Gemm", "lipschitz": None, "cumulative": None, "share": None}
    result = {
        "norm": "2", "lower": None, "upper": None, "ratio": None, "verdict": None, "certificates": [], "estimates": [],
        "layers": [layer], "warnings": ["[bold]w"],
    }  # fmt: skip
    text = summary("[link]m", result)
    assert all(name in text for name in ("[red]x[/red]\\[", "warning: [bold]w", "[link]m"))
