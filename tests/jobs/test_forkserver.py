"""Children that are forked: this process's own, without its environment, whatever becomes of who forked them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.jobs import forkserver as module
from app.jobs.forkserver import ForkFailed, ForkServer, Process
from tests.conftest import eventually

CLEAN = {"PATH": os.environ["PATH"]}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ForkServer]:
    """Forks children that run `body.py`, which says who it is and then what it is told."""
    body = """
        import os, random, sys, threading
        parts = [os.getppid(), os.getpid(), os.getsid(0), len(os.listdir("/proc/self/fd")), threading.active_count()]
        print(*parts, random.random(), ",".join(sorted(os.environ)), *sys.argv[1:], flush=True)
        exec(sys.stdin.readline())
    """
    (tmp_path / "body.py").write_text(textwrap.dedent(body))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "__init__.py").write_text("")
    (tmp_path / "broken" / "preload.py").write_text("import nothing_of_this_name")
    monkeypatch.setattr(module, "SOURCE_ROOT", f"{module.SOURCE_ROOT}:{tmp_path}")
    monkeypatch.setenv("LIPSERVE_SECRET", "hidden")
    started = ForkServer("body", CLEAN, 20.0)
    yield started
    started.close()


def fork(server: ForkServer, *arguments: str, **environment: str) -> Process:
    return server.fork(arguments, environment, lambda: False)


def said(process: Process) -> list[str]:
    return os.read(process.stdout, 10_000).decode().split()


def test_a_child_is_ours_and_has_only_what_it_was_given(server: ForkServer) -> None:
    first, second = fork(server, "a", A="1"), fork(server, "b", B="2")
    for process, argument, name in ((first, "a", "A"), (second, "b", "B")):
        parent, own, session, descriptors, threads, _, names, given = said(process)
        assert [int(parent), int(own), int(session)] == [os.getpid(), process.pid, process.pid]
        assert (int(descriptors), int(threads), names, given) == (4, 1, name, argument)  # one to list the folder
        assert Path(f"/proc/{process.pid}/comm").read_text() == "lipserve-child\n"
    assert b"LIPSERVE_SECRET" not in Path(f"/proc/{server.pid}/environ").read_bytes()
    os.write(first.stdin, b"sys.exit(3)\n")
    assert first.wait(10.0) == 3
    second.kill()
    assert second.poll() == -signal.SIGKILL
    second.kill()  # once more is no harm
    first.kill()


def test_a_child_may_be_killed_before_it_has_begun(server: ForkServer) -> None:
    for _ in range(20):
        child = fork(server)
        child.kill()
        assert child.poll() == -signal.SIGKILL


def test_random_numbers_of_children_differ(server: ForkServer) -> None:
    children = [fork(server) for _ in range(2)]
    assert len({said(child)[5] for child in children}) == 2
    for child in children:
        child.kill()


def test_the_server_may_die(server: ForkServer) -> None:
    child = fork(server)
    first = server.pid
    assert first
    os.kill(first, signal.SIGKILL)
    eventually(lambda: Path(f"/proc/{first}/stat").read_text(), lambda stat: ") Z " in stat)
    assert child.poll() is None
    other = fork(server)
    assert server.pid != first
    for process in (child, other):
        assert int(said(process)[0]) == os.getpid()
        process.kill()


def test_what_keeps_it_from_starting_is_told(server: ForkServer) -> None:
    with closing(ForkServer("broken", CLEAN, 20.0)) as broken, pytest.raises(ForkFailed, match="nothing_of_this_name"):
        fork(broken)
    with pytest.raises(ForkFailed, match="no longer wanted"):
        server.fork([], {}, lambda: True)
    assert broken.pid is server.pid is None


def test_children_and_server_end_with_their_supervisor() -> None:
    code = """
        import os, time
        from app.jobs.forkserver import ForkServer
        server = ForkServer("tests.jobs.fake_worker", dict(os.environ), 20.0)
        child = server.fork(["{}"], dict(os.environ) | {"CUDA_VISIBLE_DEVICES": ""}, lambda: False)
        os.read(child.stdout, 100)  # it is ready
        print(server.pid, child.pid, flush=True)
        time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=module.SOURCE_ROOT) as supervisor:
        assert supervisor.stdout
        pids = supervisor.stdout.readline().split()
        supervisor.kill()
    eventually(lambda: [pid for pid in pids if is_running(int(pid))], lambda left: not left)


def is_running(pid: int) -> bool:
    """Whether it does more than wait to be buried."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
