"""Nothing that the service keeps can be read by other users of the machine."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.settings import Settings
from app.store.private import keep_private
from tests.conftest import ROOT, RunningService, fake_model


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def open_paths(folder: Path) -> list[Path]:
    return [path for path in (folder, *folder.rglob("*")) if path.lstat().st_mode & 0o077]


def test_a_service_leaves_nothing_open(start_service: Callable[..., RunningService]) -> None:
    service = start_service()
    data = service.data_dir
    data.chmod(0o755)
    assert service.analyze(fake_model(test="private")).status_code == 200
    service.terminate()
    assert (data / "lipserve.db").exists()
    data.chmod(0o700)
    assert open_paths(data) == []


@pytest.mark.slow
def test_what_an_older_version_left_open_is_closed(start_service: Callable[..., RunningService]) -> None:
    service = start_service()
    service.upload(fake_model(test="older"))
    service.terminate()
    for path in (service.data_dir, *service.data_dir.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    service.start()
    assert open_paths(service.data_dir) == []
    assert "were open to other users" in service.log()


@pytest.mark.parametrize("command", [["keys", "list"], ["worker", "--check"]])
def test_every_command_that_makes_the_database_makes_it_private(tmp_path: Path, command: list[str]) -> None:
    environment = {**os.environ, "LIPSERVE_DATA_DIR": str(tmp_path / "data")}
    subprocess.run([sys.executable, "-m", "app", *command], cwd=ROOT, env=environment, check=False, capture_output=True)
    assert open_paths(tmp_path / "data") == []


def test_a_database_elsewhere_is_private_too(tmp_path: Path) -> None:
    database = tmp_path / "elsewhere.db"
    for end in ("", "-wal", "-shm"):
        Path(f"{database}{end}").touch(0o644)
    keep_private(Settings(data_dir=tmp_path / "data", database_url=f"sqlite:///{database}"))
    assert [path.name for path in open_paths(tmp_path) if path.is_file()] == []


def test_what_belongs_to_others_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    (tmp_path / "data").mkdir()
    monkeypatch.setattr(Path, "chmod", refuse)
    with caplog.at_level(logging.WARNING):
        keep_private(Settings(data_dir=tmp_path / "data"))
    assert "stays open to other users: Operation not permitted" in caplog.text


def test_links_lead_nowhere(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.touch(0o644)
    (tmp_path / "data").mkdir(mode=0o755)
    (tmp_path / "data" / "link").symlink_to(outside)
    keep_private(Settings(data_dir=tmp_path / "data"))
    assert outside.stat().st_mode & 0o777 == 0o644
