"""TorchScript that reads, overwrites, grows: stopped, told why, and the child goes on with the next model."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.jobs.child_factory import WarmChild
from app.worker.warmup import tiny_model
from tests.worker import scripts
from tests.worker.children import ask, started

INPUTS = {"x": [1, 2]}
SECRET = b"sixteen secret bytes, and more\n"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that the permission bits give to everybody."""
    path = tmp_path / "secret"
    path.write_bytes(SECRET)
    path.chmod(0o666)
    for folder in tmp_path.parents:
        if folder.stat().st_uid == tmp_path.stat().st_uid and folder != Path("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o055)
        if folder == Path("/tmp"):
            break
    tmp_path.chmod(0o755)
    return path


STOPPED = ("ermission denied", "not permitted", "archive cannot be loaded")
"""A file that is there but closed, and one that is not even seen: then the interpreter only says that it failed."""


def refused(warm: WarmChild, module: scripts.torch.nn.Module, kind: str = "analyze") -> str:
    answer = ask(warm, kind, scripts.archive(module), inputs=INPUTS)
    assert answer["type"] == "error", answer
    assert_goes_on(warm)
    return str(answer["detail"])


def assert_goes_on(warm: WarmChild) -> None:
    honest = ask(warm, "analyze", scripts.archive(scripts.Honest()), inputs=INPUTS)
    assert honest["result"]["upper"]["guarantee"] == "certified", honest


def test_the_child_is_fully_confined(warm: WarmChild) -> None:
    assert (warm.confinement, warm.details["missing"]) == ("full", [])


@pytest.mark.parametrize("path", ["/etc/passwd", "/proc/1/environ", "/etc/shadow", "{secret}"])
@pytest.mark.parametrize("program", scripts.READERS)
def test_no_file_of_others_is_read(warm: WarmChild, secret: Path, path: str, program: type) -> None:
    detail = refused(warm, program(path.format(secret=secret)))
    assert any(word in detail for word in STOPPED)
    assert SECRET.decode() not in detail
    assert "root:" not in detail


@pytest.mark.parametrize("program", scripts.WRITERS)
def test_no_file_is_overwritten(warm: WarmChild, secret: Path, program: type) -> None:
    detail = refused(warm, program(str(secret)))
    assert "ermission denied" in detail or "not permitted" in detail
    assert secret.read_bytes() == SECRET


def test_a_program_acts_when_it_is_loaded_and_is_stopped_there(warm: WarmChild, secret: Path) -> None:
    for program in (scripts.ReadsWhenLoaded, scripts.OverwritesWhenLoaded):
        detail = refused(warm, program(str(secret)), "inspect")
        assert any(word in detail for word in STOPPED)
    assert secret.read_bytes() == SECRET


def test_new_files_cannot_be_made(warm: WarmChild, tmp_path: Path) -> None:
    refused(warm, scripts.Overwrites(str(tmp_path / "new")))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("program", [scripts.Reads, scripts.Overwrites])
def test_files_have_no_place_in_a_model(warm: WarmChild, secret: Path, program: type) -> None:
    assert "aten::from_file is not one" in refused(warm, program(str(secret)))
    assert secret.read_bytes() == SECRET


def test_an_exported_file_that_unpickles_makes_no_file(warm: WarmChild, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    ask(warm, "inspect", scripts.export_that_unpickles(str(tmp_path / "made")))
    assert not (tmp_path / "made").exists()
    assert_goes_on(warm)


def test_memory_without_end_is_refused(warm: WarmChild) -> None:
    answer = ask(warm, "analyze", scripts.archive(scripts.GrowsWithoutEnd()), inputs=INPUTS)
    assert (answer["type"], answer["slug"]) == ("error", "out-of-memory")
    assert_goes_on(warm)
    assert "result" in ask(warm, "analyze", tiny_model())


@pytest.mark.slow
def test_the_same_programs_do_their_harm_where_nothing_confines(secret: Path, tmp_path: Path) -> None:
    """So that the tests above could fail."""
    with started("app.worker", tmp_path, confinement="none", untrusted_torchscript="trust") as free:
        assert free.confinement == "none"
        for program in scripts.READERS:
            told = ask(free, "analyze", scripts.archive(program("/etc/passwd")), inputs=INPUTS)
            assert "what it may not" not in told.get("detail", "")
        for program in scripts.WRITERS:
            secret.write_bytes(SECRET)
            ask(free, "analyze", scripts.archive(program(str(secret))), inputs=INPUTS)
            assert secret.read_bytes() != SECRET
