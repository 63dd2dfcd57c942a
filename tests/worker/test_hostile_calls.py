"""What native code inside a child can still do: next to nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.jobs.child import ChildDied
from app.jobs.child_factory import WarmChild
from tests.worker.children import started, told

DENIED = (errno.EPERM, errno.EACCES, errno.ENOSYS)
HIDDEN = (*DENIED, errno.ENOENT)
"""Where the kernel gives namespaces, a file of others is not even there."""

CALLS = (
    "open a TCP socket",
    "open a Unix socket",
    "make a socket pair",
    "fork",
    "execute",
    "signal its parent",
    "kill every process",
    "trace its parent",
    "unshare",
    "become root",
    "outlive its parent",
    "raise its limits",
    "map shared memory",
    "map memory that grows downwards",
    "stretch the stack",
    "make a memory file",
    "use io_uring",
    "watch files",
)
CHANGES = ("overwrite", "create", "truncate", "delete", "rename", "link", "symlink", "chmod", "make a folder")
STILL_DONE = ("start a thread", "signal itself", "import something late")
FREE_TO_ALL = (
    "open a TCP socket",
    "open a Unix socket",
    "make a socket pair",
    "fork",
    "signal its parent",
    "outlive its parent",
    "raise its limits",
    "map shared memory",
    "map memory that grows downwards",
    "stretch the stack",
    "fill page tables",
    "make a memory file",
    "watch files",
)
FATAL = ("call by x32", "call by i386")


@pytest.fixture(scope="module", params=["root", "ordinary"])
def warm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmChild]:
    folder = tmp_path_factory.mktemp("child")
    folder.chmod(0o755)
    with started("tests.worker.attempts", folder, request.param) as child:
        assert (child.confinement, child.details["missing"]) == ("full", [])
        yield child


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file that the permission bits give to everybody, in a folder that they give to everybody."""
    path = tmp_path / "file"
    path.write_text("kept")
    path.chmod(0o666)
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o777)
    return path


def met(warm: WarmChild, attempt: str, argument: object = "") -> int:
    return told(warm, "analyze", {"attempt": attempt, "argument": str(argument)}, {})["result"]["errno"]


@pytest.mark.parametrize("attempt", CALLS)
def test_system_calls_are_refused(warm: WarmChild, attempt: str) -> None:
    assert met(warm, attempt) in DENIED


def test_page_tables_count_towards_the_limit(warm: WarmChild) -> None:
    assert met(warm, "fill page tables") == errno.ENOMEM


@pytest.mark.parametrize("attempt", FATAL)
def test_calls_by_foreign_numbers_kill_the_process(tmp_path: Path, attempt: str) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("this machine has one table of system calls")
    with started("tests.worker.attempts", tmp_path) as warm, pytest.raises(ChildDied, match="SIGSYS"):
        met(warm, attempt)


@pytest.mark.parametrize("attempt", CHANGES)
def test_no_file_is_changed(warm: WarmChild, target: Path, attempt: str) -> None:
    before = sorted(path.name for path in target.parent.iterdir())
    assert met(warm, attempt, target) in HIDDEN
    assert sorted(path.name for path in target.parent.iterdir()) == before
    assert (target.read_text(), target.stat().st_mode & 0o777) == ("kept", 0o666)


@pytest.mark.parametrize("attempt", ["read", "read in a thread"])
def test_no_file_of_others_is_read(warm: WarmChild, target: Path, attempt: str) -> None:
    for path in (target, "/etc/passwd", "/etc/hostname", "/proc/1/cmdline", "/proc/self/../1/environ"):
        assert met(warm, attempt, path) in HIDDEN, path


@pytest.mark.parametrize("name", ["net/tcp", "net/unix", "net/dev", "mountinfo", "mounts", "environ", "root/etc/hosts"])
def test_nothing_is_read_of_the_machine_behind_the_process(warm: WarmChild, name: str) -> None:
    for process in ("self", "thread-self", str(warm.child.pid), f"self/task/{warm.child.pid}"):
        assert met(warm, "read", f"/proc/{process}/{name}") in DENIED


def test_not_even_names_and_sizes_are_told(warm: WarmChild, target: Path) -> None:
    if "names" not in warm.details["layers"]:
        pytest.skip("the kernel gives this process no namespaces")
    for path in (target, target.parent, "/var/log", "/root/.ssh"):
        assert met(warm, "stat", path) == errno.ENOENT, path


def test_no_folder_of_others_is_listed(warm: WarmChild) -> None:
    for path in ("/", "/etc", "/tmp", "/home", "/proc", "/dev", "/var"):
        assert met(warm, "list", path) in HIDDEN, path


@pytest.mark.parametrize("attempt", STILL_DONE)
def test_what_jobs_need_still_works(warm: WarmChild, attempt: str) -> None:
    assert met(warm, attempt) == 0


def test_root_is_gone(warm: WarmChild) -> None:
    assert warm.details["user"] != 0
    status = Path(f"/proc/{warm.child.pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff"))
    assert int(effective, 16) & ~0b100 == 0, "at most the right to read Python's own files"


def test_the_same_attempts_work_where_nothing_confines(target: Path, tmp_path: Path) -> None:
    """So that the tests above could fail."""
    with started("tests.worker.attempts", tmp_path, confinement="none", job_memory_bytes=2**40) as free:
        assert [met(free, attempt) for attempt in FREE_TO_ALL] == [0] * len(FREE_TO_ALL)
        assert [met(free, "read", path) for path in (target, "/etc/passwd")] == [0, 0]
        assert met(free, "list", "/") == 0
        assert met(free, "chmod", target) == 0
