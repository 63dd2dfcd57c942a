"""The supervisor's side of `app.worker.forkserver`: new children in milliseconds, each one this process's own child."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from ..worker import forkserver as worker_side

SOURCE_ROOT = Path(__file__).resolve().parents[2]
PR_SET_CHILD_SUBREAPER = 36
POLL_S = 0.2
WAIT_S = 0.005
END_S = 2.0
LAST_WORDS = 2000


class ForkFailed(Exception):
    """There is no child; the text says why."""


class Process:
    """A child of this process, and the other ends of its standard streams, as descriptors."""

    def __init__(self, pid: int, stdin: int, stdout: int, stderr: int) -> None:
        self.pid = pid
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self._open: tuple[int, ...] = (stdin, stdout, stderr)
        self._code: int | None = None
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """The exit code once it has ended, negative for a signal."""
        with self._lock:
            if self._code is None:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                self._code = os.waitstatus_to_exitcode(status) if pid else None
            return self._code

    def wait(self, timeout_s: float) -> int:
        """The exit code; TimeoutError."""
        deadline = time.monotonic() + timeout_s
        while (code := self.poll()) is None:
            if time.monotonic() >= deadline:
                raise TimeoutError
            time.sleep(WAIT_S)
        return code

    def kill(self) -> None:
        """End it and its process group, wait for it, and close the streams."""
        if self.poll() is None:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:  # it has not made its group yet, nor started anything
                os.kill(self.pid, signal.SIGKILL)
            self.wait(float("inf"))
        self._reap()
        with self._lock:
            open_, self._open = self._open, ()
        for stream in open_:
            os.close(stream)

    def _reap(self) -> None:
        """Wait for those of its own children that died with it: orphans are this process's."""
        with suppress(ChildProcessError):
            while os.waitpid(-self.pid, os.WNOHANG)[0]:
                pass


class ForkServer:
    """One process that has a worker module's libraries in memory: started when first needed, and again if it dies.

    May be used from any thread; a second caller waits for the first.
    """

    def __init__(self, module: str, environment: Mapping[str, str], start_s: float) -> None:
        """`start_s`: how long imports and fork may take."""
        self._module = module
        self._environment = dict(environment)
        self._start_s = start_s
        self._lock = threading.Lock()
        self._server: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None
        self._errors: IO[bytes] | None = None

    def fork(self, arguments: Sequence[str], environment: Mapping[str, str], gives_up: Callable[[], bool]) -> Process:
        """A child that runs the module; ForkFailed where there will be none, or `gives_up()`."""
        request = {"arguments": list(arguments), "environment": dict(environment)}
        pipes = [os.pipe() for _ in range(3)]
        theirs = [pipes[0][0], pipes[1][1], pipes[2][1]]
        ours = [pipes[0][1], pipes[1][0], pipes[2][0]]
        try:
            with self._lock:
                pid = self._ask(json.dumps(request).encode(), theirs, gives_up)
        except BaseException:
            for stream in ours:
                os.close(stream)
            raise
        finally:
            for stream in theirs:
                os.close(stream)
        return Process(pid, *ours)

    @property
    def pid(self) -> int | None:
        """The server's process, if it runs."""
        return None if self._server is None else self._server.pid

    def close(self) -> None:
        """End the server; its children stay."""
        with self._lock:
            self._stop()

    def _ask(self, request: bytes, streams: list[int], gives_up: Callable[[], bool]) -> int:
        try:
            requests = self._start()
            socket.send_fds(requests, [request], streams)
            return int(self._answer(requests, gives_up))
        except OSError as error:
            reason = self._last_words() or str(error)
            self._stop()
            raise ForkFailed(f"the process that forks children ended: {reason}") from error
        except ForkFailed:
            self._stop()
            raise

    def _start(self) -> socket.socket:
        """The socket to a server that runs, or will once it has imported everything."""
        if self._requests is not None and self._server is not None and self._server.poll() is None:
            return self._requests
        self._stop()
        become_subreaper()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the server)
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._requests.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, worker_side.MAX_REQUEST)
        self._requests.settimeout(POLL_S)
        with theirs:
            self._server = subprocess.Popen(  # noqa: S603 (our own interpreter, a configured module)
                [sys.executable, "-P", "-m", worker_side.__name__, self._module, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=self._errors,
                stderr=self._errors,
                pass_fds=[theirs.fileno()],
                cwd="/",
                env=self._environment | {"PYTHONPATH": str(SOURCE_ROOT)},
                start_new_session=True,
            )
        return self._requests

    def _answer(self, requests: socket.socket, gives_up: Callable[[], bool]) -> bytes:
        deadline = time.monotonic() + self._start_s
        while time.monotonic() < deadline:
            if gives_up():
                raise ForkFailed("it is no longer wanted")
            with suppress(TimeoutError):
                if answer := requests.recv(32):
                    return answer
                raise ConnectionResetError("it closed its socket")
        raise ForkFailed("the child was not ready in time")

    def _last_words(self) -> str:
        """The last line of a server that is about to be gone."""
        if self._server is None or self._errors is None:
            return ""
        with suppress(subprocess.TimeoutExpired):
            self._server.wait(END_S)
        self._errors.seek(0)
        words = self._errors.read()[-LAST_WORDS:].decode("utf-8", "replace").strip()
        return words.splitlines()[-1] if words else ""

    def _stop(self) -> None:
        if self._requests is not None:
            self._requests.close()
        if self._server is not None:
            self._server.kill()
            self._server.wait()
        if self._errors is not None:
            self._errors.close()
        self._requests = self._server = self._errors = None


def become_subreaper() -> None:
    """Have orphans among this process's descendants become its children."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
