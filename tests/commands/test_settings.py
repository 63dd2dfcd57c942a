"""Settings that cannot be used, and the cores that a container grants."""

import pytest

from app.cli import main


def test_a_setting_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv("LIPSERVE_PORT", "tcp://10.0.0.1:8000")  # what Kubernetes sets for a service named lipserve
    assert main(["serve"]) == 3
    told = capsys.readouterr().err
    assert "LIPSERVE_PORT" in told
    assert "Traceback" not in told
