"""`lipserve verify` and `analyze` on this machine: a program runs in a capture child, and proves nothing of itself."""

from __future__ import annotations

import io
import json
import os
import zipfile
from functools import partial
from pathlib import Path

import pytest

from app.cli import main
from app.commands import local
from app.commands.local import analyze_here, verify_here
from app.errors import Problem, TorchscriptRefused
from tests.command_line import lipserve
from tests.conftest import fake_model


@pytest.fixture
def possessed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Children that are in the hands of the programs that they run."""
    monkeypatch.setenv("LIPSERVE_WORKER_MODULE", "tests.worker.possessed")
    monkeypatch.setenv("LIPSERVE_DATA_DIR", str(tmp_path / "data"))


def program(folder: Path, attack: str) -> Path:
    path = folder / "model.pt"
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("net/code/attack.json", json.dumps({"attack": attack, "value": 3.0}))
        archive.writestr("net/constants.pkl", b"")
    path.write_bytes(held.getvalue())
    return path


def certificate(folder: Path, bound: float) -> Path:
    path = folder / "certificate.json"
    path.write_text(json.dumps({"bound": bound, "function": {"inputs": None}}))
    return path


@pytest.mark.usefixtures("possessed")
def test_a_program_that_owns_its_child_gets_the_bound_of_its_graph(tmp_path: Path) -> None:
    model = program(tmp_path, "patch_the_worker")
    assert analyze_here(model, None, {}, lambda _: None).result["upper"]["value"] == 3.0
    assert not verify_here(model, certificate(tmp_path, 0.001))["valid"]
    assert verify_here(model, certificate(tmp_path, 3.0))["valid"]


def test_the_verdict_is_the_exit_status(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(fake_model(value=3.0))
    verify = partial(lipserve, "verify", str(model), worker_module="tests.jobs.fake_worker", data_dir=tmp_path)
    valid, invalid = (verify(str(certificate(tmp_path, bound))) for bound in (3.0, 0.5))
    assert (valid.returncode, invalid.returncode) == (0, 1)
    assert valid.stdout.startswith("VALID: the 2-norm Lipschitz constant is at most ")
    assert invalid.stdout == "INVALID\n  the bound is 3.0\n"
    told = json.loads(verify(str(certificate(tmp_path, 4.0)), "--json").stdout)
    assert (told["valid"], told["bound"], told["check"]) == (True, 4.0, "independent")


def test_a_check_ends_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIPSERVE_WORKER_MODULE", "tests.jobs.fake_worker")
    monkeypatch.setenv("LIPSERVE_DATA_DIR", str(tmp_path / "data"))
    model = tmp_path / "model.onnx"
    model.write_bytes(fake_model(verify={"do": "sleep_in_native_code", "seconds": 30}))
    assert main(["verify", str(model), str(certificate(tmp_path, 3.0)), "--time-limit", "0.1"]) == 3
    assert "could not be checked within 0.1 s" in capsys.readouterr().err


@pytest.mark.usefixtures("possessed")
@pytest.mark.parametrize("attack", ["answer_for_itself", pytest.param("crash", marks=pytest.mark.slow)])
def test_a_program_that_breaks_the_protocol_is_an_error(
    tmp_path: Path, attack: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = program(tmp_path, attack)
    with pytest.raises(Problem):
        verify_here(model, certificate(tmp_path, 0.001))
    assert main(["verify", str(model), str(certificate(tmp_path, 0.001))]) == 3
    assert "was stopped" in capsys.readouterr().err


def test_for_a_missing_file_no_child_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(local, "ChildFactory")
    with pytest.raises(FileNotFoundError):
        analyze_here(tmp_path / "none.onnx", None, {}, lambda _: None)
    with pytest.raises(FileNotFoundError):
        verify_here(tmp_path / "none.onnx", certificate(tmp_path, 1.0))


@pytest.mark.usefixtures("possessed")
def test_a_model_that_is_refused_makes_its_certificate_invalid(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(fake_model(capture={"do": "refuse", "slug": "invalid-model", "detail": "no"}))
    with pytest.raises(Problem):
        analyze_here(model, None, {}, lambda _: None)


def test_a_hostile_file_is_loaded_in_confinement_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.worker import scripts

    monkeypatch.setenv("LIPSERVE_DATA_DIR", str(tmp_path / "data"))
    target, model = tmp_path / "kept", tmp_path / "model.pt"
    target.write_bytes(b"k" * 64)
    os.chmod(target, 0o666)
    model.write_bytes(scripts.archive(scripts.OverwritesWhenLoaded(str(target))))
    answer = verify_here(model, certificate(tmp_path, 1.0))
    assert not answer["valid"]
    assert target.read_bytes() == b"k" * 64


@pytest.mark.slow
def test_without_confinement_programs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.worker import scripts

    monkeypatch.setenv("LIPSERVE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("LIPSERVE_CONFINEMENT", "none")
    model = tmp_path / "model.pt"
    model.write_bytes(scripts.archive(scripts.Honest()))
    with pytest.raises(TorchscriptRefused):
        analyze_here(model, None, {"inputs": [[1, 2]], "methods": ["autolip"]}, lambda _: None)
    trusted = analyze_here(model, None, {"inputs": [[1, 2]], "methods": ["autolip"]}, lambda _: None, trusts=True)
    assert trusted.result["upper"]["guarantee"] == "certified"
