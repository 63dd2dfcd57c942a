"""One child process as its supervisor sees it: requests in, JSON lines out, and a kill that always works."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import app
from app.jobs.remarks import Remarks

SOURCE_ROOT = Path(app.__file__).resolve().parent.parent
READ_BYTES = 2**20
PIPE_BYTES = 2**20
STALL_S = 60.0
"""How long a child may leave what is sent to it unread; an idle child reads at once."""

ALLOCATION_FAILED = "std::bad_alloc"


class ChildDied(Exception):
    """The child ended by itself; the text says how. `is_exhausted`: it was told that there is no memory."""

    def __init__(self, code: int, last_words: str = "") -> None:
        super().__init__(describe_exit(code))
        self.code = code
        self.is_exhausted = code == -signal.SIGABRT and ALLOCATION_FAILED in last_words


class ProtocolBroken(Exception):
    """The child sent something that is not a message, or did not read what it was sent."""


class Child:
    """A process in a session of its own; `send`, `receive` and `kill` belong to one thread."""

    def __init__(
        self, module: str, environment: dict[str, str], max_message_bytes: int, arguments: Sequence[str] = ()
    ) -> None:
        self._max_message_bytes = max_message_bytes
        self._buffer = bytearray()
        self._scanned = 0
        self._outgoing: Iterator[bytes] = iter(())
        self._chunk = memoryview(b"")
        self._stalls_at = 0.0
        self._process = subprocess.Popen(  # noqa: S603 (our own interpreter, a configured module)
            [sys.executable, "-P", "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd="/",
            env=environment | {"PYTHONPATH": str(SOURCE_ROOT)},
            start_new_session=True,
        )
        streams = (self._process.stdin, self._process.stdout, self._process.stderr)
        self._stdin, self._stdout, stderr = (stream.fileno() for stream in streams if stream is not None)
        os.set_blocking(self._stdin, False)
        with suppress(OSError):  # fewer, larger pieces, where this user may still have so large a pipe
            fcntl.fcntl(self._stdin, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._remarks = Remarks(stderr, self.pid)
        self._poll = select.poll()
        self._poll.register(self._stdout, select.POLLIN)
        self._poll.register(stderr, select.POLLIN)
        self._stderr = stderr

    @property
    def pid(self) -> int:
        """Process id, and the id of the child's process group."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def send(self, message: dict[str, Any], files: Sequence[BinaryIO] = ()) -> None:
        """Have one message and the rest of `files` written while `receive` waits; the files stay open until then."""
        self._remarks.renew()
        self._outgoing = _pieces(message, files)
        self._stalls_at = time.monotonic() + STALL_S
        self._next_chunk()

    def receive(self, timeout_s: float) -> dict[str, Any] | None:
        """The next message, None when none came in time; ChildDied or ProtocolBroken when none will.

        Waits once, for whatever can be read or written first. OSError when a file that is sent cannot be read.
        """
        line = self._line()
        if line is None:
            self._wait(timeout_s)
            line = self._line()
        return None if line is None else _decode(line)

    def kill(self) -> None:
        """End the process and all that it started, also inside a native call."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()

    def _wait(self, timeout_s: float) -> None:
        ready = dict(self._poll.poll(timeout_s * 1000))
        if self._stderr in ready and not self._remarks.read():
            self._poll.unregister(self._stderr)
        if self._stdout in ready:
            data = os.read(self._stdout, READ_BYTES)
            if not data:
                self._died()
            self._buffer += data
        if self._chunk:
            self._write(self._stdin in ready)

    def _write(self, is_ready: bool) -> None:
        now = time.monotonic()
        if is_ready:
            try:
                self._chunk = self._chunk[os.write(self._stdin, self._chunk) :]
                self._stalls_at = now + STALL_S
            except BlockingIOError:
                return
            except BrokenPipeError:  # its last words are still to be read
                self._outgoing, self._chunk = iter(()), memoryview(b"")
        elif now >= self._stalls_at:
            raise ProtocolBroken(f"it read nothing for {STALL_S:g} s")
        if not self._chunk:
            self._next_chunk()

    def _next_chunk(self) -> None:
        """Read on in what is sent; wait for the pipe only while there is something to write."""
        self._chunk = memoryview(next(self._outgoing, b""))
        if self._chunk:
            self._poll.register(self._stdin, select.POLLOUT)
        else:
            with suppress(KeyError):
                self._poll.unregister(self._stdin)

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\n", self._scanned)
        if end < 0:
            self._scanned = len(self._buffer)
            if self._scanned > self._max_message_bytes:
                raise ProtocolBroken(f"a message is longer than {self._max_message_bytes} bytes")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._scanned = 0
        return line

    def _died(self) -> NoReturn:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            raise ProtocolBroken("the child closed its pipe and went on") from None
        self._remarks.read()
        raise ChildDied(code, self._remarks.tail) from None


def _pieces(message: dict[str, Any], files: Sequence[BinaryIO]) -> Iterator[bytes]:
    """The message's line and the files, a piece at a time."""
    yield json.dumps(message, allow_nan=False).encode() + b"\n"
    for file in files:
        while piece := file.read(READ_BYTES):
            yield piece


def describe_exit(code: int) -> str:
    """How a process ended, in words: `was killed by SIGSEGV`, `exited with status 1`."""
    return f"exited with status {code}" if code >= 0 else f"was killed by {signal.Signals(-code).name}"


def _decode(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ProtocolBroken(f"a line is not JSON: {error}") from error
    if not isinstance(message, dict):
        raise ProtocolBroken("a message is not an object")
    return message


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
