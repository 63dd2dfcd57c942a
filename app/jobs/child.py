"""One child process as its supervisor sees it: JSON lines in and out, and a kill that always works."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import app

SOURCE_ROOT = Path(app.__file__).resolve().parent.parent
READ_BYTES = 2**20


class ChildDied(Exception):
    """The child ended by itself; the text says how."""


class ProtocolBroken(Exception):
    """The child sent something that is not a message."""


class Child:
    """A process in a session of its own; `receive` and `kill` belong to one thread."""

    def __init__(self, module: str, environment: dict[str, str], max_message_bytes: int) -> None:
        self._max_message_bytes = max_message_bytes
        self._buffer = bytearray()
        self._scanned = 0
        self._process = subprocess.Popen(  # noqa: S603 (our own interpreter, a configured module)
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
            env=environment | {"PYTHONPATH": str(SOURCE_ROOT)},
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Process id, and the id of the child's process group."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def send(self, message: dict[str, Any]) -> None:
        """Write one message; ChildDied when nobody reads."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message, allow_nan=False).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self._died()

    def receive(self, timeout_s: float) -> dict[str, Any] | None:
        """The next message, None when none came in time; ChildDied or ProtocolBroken when none will."""
        assert self._process.stdout is not None
        line = self._line()
        if line is None and select.select([self._process.stdout], [], [], timeout_s)[0]:
            data = os.read(self._process.stdout.fileno(), READ_BYTES)
            if not data:
                self._died()
            self._buffer += data
            line = self._line()
        return None if line is None else _decode(line)

    def kill(self) -> None:
        """End the process and all that it started, also inside a native call."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            try:
                stream.close()
            except BrokenPipeError:
                continue

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
        raise ChildDied(describe_exit(code)) from None


def describe_exit(code: int) -> str:
    """How a process ended, in words: `was killed by SIGSEGV`, `exited with status 1`."""
    if code >= 0:
        return f"exited with status {code}"
    hint = " (often the kernel, out of memory)" if -code == signal.SIGKILL else ""
    return f"was killed by {signal.Signals(-code).name}{hint}"


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
