"""One child process as its supervisor sees it: questions in, checked messages out, and a kill that always works.

A child may be under the control of a program that it ran. So every message names the turn that it belongs to, and a
child that speaks when it was not asked, or goes on after its answer, has broken the protocol.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import select
import signal
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any, BinaryIO, NoReturn

from ..contract.frames import Header
from .forkserver import Process
from .pace import Pace
from .reader import Message, ProtocolBroken, Reader, Sink
from .stderr_tail import StderrTail

__all__ = ["Child", "ChildDied", "Message", "ProtocolBroken", "Sink", "describe_exit", "size_of"]

READ_BYTES = 2**18
PIPE_BYTES = 2**20
STALL_S = 60.0
"""How long a child may leave what is sent to it unread; an idle child reads at once."""
END_S = 1.0
"""How long a child that closed its pipe may take to end."""
STDERR_S = 0.1
"""How often a child that says too much on its standard error is listened to."""

FIRST_TURN = "0"
"""The turn in which a child says that it is ready."""

ALLOCATION_FAILED = "std::bad_alloc"


class ChildDied(Exception):
    """The child ended by itself; the text says how. `is_exhausted`: it was told that there is no memory."""

    def __init__(self, code: int, last_words: str = "") -> None:
        super().__init__(describe_exit(code))
        self.code = code
        self.is_exhausted = code == -signal.SIGABRT and ALLOCATION_FAILED in last_words


class Child:
    """A process in a session of its own; `ask`, `receive` and `kill` belong to one thread."""

    def __init__(self, process: Process) -> None:
        self._reader = Reader(FIRST_TURN, {"ready"}, {})
        self._pace = Pace()
        self._outgoing: Iterator[bytes] = iter(())
        self._chunk = memoryview(b"")
        self._stalls_at = 0.0
        self._process = process
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        os.set_blocking(self._stdin, False)
        for pipe in (self._stdin, self._stdout):
            with suppress(OSError):  # fewer, larger pieces, where this user may still have so large a pipe
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._stderr_tail = StderrTail(self._stderr, self.pid)
        self._listens_at = 0.0
        self._poll = select.poll()
        self._poll.register(self._stdout, select.POLLIN)
        self._poll.register(self._stderr, select.POLLIN)

    @property
    def pid(self) -> int:
        """Process id, and the id of the child's process group."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def is_quiet(self) -> bool:
        """Whether nothing of what the child said is unread."""
        pipe = select.poll()
        pipe.register(self._stdout, select.POLLIN)
        return self._reader.is_empty and not any(event & select.POLLIN for _, event in pipe.poll(0))

    def ask(
        self,
        kind: str,
        request: Mapping[str, Any],
        files: Mapping[str, BinaryIO],
        answers: Collection[str],
        sinks: Mapping[str, Sink] | None = None,
    ) -> None:
        """Have a question written, and the whole of `files`, which stay open until then, while `receive` waits.

        `answers` are the kinds of messages that may come, `sinks` take the files that come with them. ProtocolBroken
        where the child spoke before it was asked; OSError when a file cannot be read.
        """
        if not self.is_quiet():
            raise ProtocolBroken("it spoke before it was asked")
        turn, body = secrets.token_hex(16), json.dumps(request, allow_nan=False).encode()
        header = Header(kind, turn, len(body), {name: size_of(file) for name, file in files.items()})
        self._reader = Reader(turn, frozenset(answers), sinks or {})
        self._stderr_tail.renew()
        self._outgoing = _pieces(header.encode() + body, files.values())
        self._stalls_at = time.monotonic() + STALL_S
        self._next_chunk()

    def receive(self, timeout_s: float) -> Message | None:
        """The next message, None when none came in time; ChildDied or ProtocolBroken when none will.

        Waits once, for whatever can be read or written first. OSError when a file that is sent cannot be read, and
        whatever a sink raises.
        """
        if rest_s := self._pace.rest_s():
            time.sleep(min(rest_s, timeout_s))
            return None
        message = self._reader.take()
        if message is None:
            self._wait(timeout_s)
            message = self._reader.take()
        if message is not None:
            self._pace.note()
        return message

    def end_turn(self) -> None:
        """The answer has come; ProtocolBroken where the child goes on speaking."""
        if not self.is_quiet():
            raise ProtocolBroken("it went on after its answer")

    def kill(self) -> None:
        """End the process and all that it started, also inside a native call."""
        self._process.kill()

    def _wait(self, timeout_s: float) -> None:
        if self._listens_at and time.monotonic() >= self._listens_at:
            self._poll.register(self._stderr, select.POLLIN)
            self._listens_at = 0.0
        ready = dict(self._poll.poll(timeout_s * 1000))
        if self._stderr in ready:
            self._listen()
        if self._stdout in ready:
            data = os.read(self._stdout, READ_BYTES)
            if not data:
                self._died()
            self._reader.feed(data)
        if self._chunk:
            self._write(self._stdin in ready)

    def _listen(self) -> None:
        goes_on = self._stderr_tail.read()
        if not goes_on or self._stderr_tail.is_too_much:
            self._poll.unregister(self._stderr)
            self._listens_at = time.monotonic() + STDERR_S if goes_on else 0.0

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

    def _died(self) -> NoReturn:
        try:
            code = self._process.wait(END_S)
        except TimeoutError:
            raise ProtocolBroken("the child closed its pipe and went on") from None
        self._stderr_tail.read()
        raise ChildDied(code, self._stderr_tail.tail) from None


def size_of(file: BinaryIO) -> int:
    """Its bytes; it is read from the start afterwards."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size


def _pieces(beginning: bytes, files: Collection[BinaryIO]) -> Iterator[bytes]:
    """The question and the files, a piece at a time."""
    yield beginning
    for file in files:
        while piece := file.read(PIPE_BYTES):
            yield piece


def describe_exit(code: int) -> str:
    """How a process ended, in words: `was killed by SIGSEGV`, `exited with status 1`."""
    return f"exited with status {code}" if code >= 0 else f"was killed by {signal.Signals(-code).name}"
