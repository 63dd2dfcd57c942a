"""Real database and broker servers of the tests' own, in temporary directories, on free loopback ports."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import free_port

START_S = 60.0


class Missing(Exception):
    """A program that is not installed here."""


@dataclass
class Server:
    """A running server, which can be killed and started again on its port and its files."""

    url: str
    _command: list[str]
    _probe: Callable[[], bool]
    _log: Path
    _user: str | None
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return once it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, user=self._user, cwd="/", start_new_session=True
            )
        deadline = time.monotonic() + START_S
        while not self._probe():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self._command[0]} did not start:\n{self._log.read_text()}")
            time.sleep(0.05)

    def kill(self) -> None:
        """What a power cut does to it."""
        if self._process is not None and self._process.poll() is None:
            family = [self._process.pid, *_children(self._process.pid)]
            for pid in family:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait()


@contextmanager
def private_postgres(fsync: str = "on") -> Iterator[Server]:
    """An empty PostgreSQL that brings commits to the disk, unless `fsync` is off; Missing where it is not installed."""
    programs = _postgres_programs()
    user = _unprivileged()
    with _directory(user) as home:
        data, port = home / "data", free_port()
        initdb = [programs / "initdb", "--pgdata", data, "--username", "lipserve", "--auth", "trust", "--no-sync"]
        initdb += ["--encoding", "UTF8", "--locale", "C.UTF-8"]
        subprocess.run(initdb, user=user, cwd="/", check=True, capture_output=True)
        given = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": fsync}
        command = [str(programs / "postgres"), "-D", str(data)]
        command += [word for name, value in given.items() for word in ("-c", f"{name}={value}")]

        def answers() -> bool:
            probe = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
            return subprocess.run(probe, check=False).returncode == 0

        url = f"postgresql+psycopg://lipserve@127.0.0.1:{port}/postgres"
        yield from _running(Server(url, command, answers, home / "log", user))


@contextmanager
def private_redis() -> Iterator[Server]:
    """An empty Redis that keeps nothing; Missing where it is not installed."""
    program, client = shutil.which("redis-server"), shutil.which("redis-cli")
    if program is None or client is None:
        raise Missing("redis-server is not installed")
    with _directory(None) as home:
        port = free_port()
        command = [program, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(home), "--save", ""]

        def answers() -> bool:
            probe = subprocess.run([client, "-p", str(port), "ping"], check=False, capture_output=True)
            return probe.stdout.strip() == b"PONG"

        yield from _running(Server(f"redis://127.0.0.1:{port}/0", command, answers, home / "log", None))


def _running(server: Server) -> Iterator[Server]:
    try:
        server.start()
        yield server
    finally:
        server.kill()


def _children(pid: int) -> list[int]:
    """The processes that this one started; PostgreSQL's are in sessions of their own."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def _directory(user: str | None) -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="lipserve-"))
    try:
        if user is not None:
            shutil.chown(home, user)
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _postgres_programs() -> Path:
    """The directory of PostgreSQL's programs: on the path, or where Debian keeps the servers; the newest."""
    found = shutil.which("postgres")
    places = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not places:
        raise Missing("PostgreSQL is not installed")
    return places[-1]


def _unprivileged() -> str | None:
    """PostgreSQL refuses to run as root; its own user is there where it was installed by a package."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        raise Missing("PostgreSQL does not run as root, and there is no user `postgres`") from None
