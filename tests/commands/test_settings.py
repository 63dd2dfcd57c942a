"""Settings that cannot be used, and the cores that a container grants."""

from pathlib import Path

import pytest

from app.cli import main
from app.settings import core_count, granted_cores


def test_a_setting_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv("LIPSERVE_PORT", "tcp://10.0.0.1:8000")  # what Kubernetes sets for a service named lipserve
    assert main(["serve"]) == 3
    told = capsys.readouterr().err
    assert "LIPSERVE_PORT" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("text", "cores"),
    [("max 100000", []), ("150000 100000", [1]), ("400000 100000", [4]), ("5000 100000", [1]), ("", [])],
)
def test_the_cores_of_a_control_group(tmp_path: Path, text: str, cores: list[int]) -> None:
    limit = tmp_path / "cpu.max"
    limit.write_text(text)
    assert granted_cores(limit) == cores
    assert granted_cores(tmp_path / "missing") == []


def test_there_is_a_core() -> None:
    assert core_count() >= 1
