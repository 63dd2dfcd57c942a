"""What the child does all day: read a question, work on it, answer; `app.contract.frames` says how both look.

A capture child is asked to look into a model's file and to capture it; a bounding child gets captured graphs only.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, BinaryIO, Protocol

from ..contract.frames import Header
from ..contract.messages import MAX_DETAIL, max_bytes
from ..contract.plain import Json, cleaned
from ..lipschitz.errors import LipschitzError
from .parent import die_with_parent, take_standard_output

Progress = Callable[[dict[str, object]], None]

FIRST_TURN = "0"
PROGRESS_S = 0.05
"""Least time between two reports of progress on the same thing."""


class Voice:
    """Writes messages, each with the turn that it belongs to."""

    def __init__(self, pipe: BinaryIO) -> None:
        self.turn = FIRST_TURN
        self._pipe = pipe
        self._reported: tuple[float, object] = (0.0, None)

    def tell(self, kind: str, body: Mapping[str, Any], **files: bytes) -> None:
        """One message with its files; ValueError for numbers that JSON cannot carry, or a body that is too long."""
        data = json.dumps(cleaned(dict(body)), allow_nan=False).encode()
        if len(data) > max_bytes(kind):
            raise ValueError(f"a message of kind {kind} of {len(data)} bytes is too long")
        header = Header(kind, self.turn, len(data), {name: len(file) for name, file in files.items()})
        for piece in (header.encode() + data, *files.values()):
            self._pipe.write(piece)
        self._pipe.flush()

    def report(self, progress: Mapping[str, object]) -> None:
        """How far the work has come, unless that was told a moment ago."""
        now, about = time.monotonic(), (progress.get("method"), progress.get("phase"))
        if now - self._reported[0] >= PROGRESS_S or about != self._reported[1]:
            self._reported = now, about
            self.tell("progress", progress)

    def fail(self, slug: str, detail: str) -> None:
        """The question has no answer."""
        self.tell("error", {"slug": slug, "detail": detail[:MAX_DETAIL] or "no reason was given"})


class Library(Protocol):
    """What the child can run; loaded after the ties to the supervisor are in place."""

    def describe(self) -> Json:
        """Warm up; the device that jobs will run on, the version of torch, how far the process is confined."""

    def answer(self, kind: str, request: Json, files: Mapping[str, bytes], voice: Voice) -> None:
        """Say what answers the question; raises what keeps it from being answered."""


def serve(load: Callable[[], Library]) -> None:
    """Run until the supervisor closes the pipe."""
    die_with_parent()
    voice = Voice(take_standard_output())
    library = load()
    voice.tell("ready", library.describe())
    for line in sys.stdin.buffer:
        header = Header.decode(line.rstrip(b"\n"))
        voice.turn = header.turn
        _answer(library, header, voice)


def _answer(library: Library, header: Header, voice: Voice) -> None:
    try:
        request = json.loads(_received(header.size))
        files = {name: _received(size) for name, size in header.files.items()}
    except MemoryError:
        voice.fail("out-of-memory", "The files are larger than the memory that a job may take.")
        sys.exit("the rest of the request is not read")
    try:
        library.answer(header.kind, request, files, voice)
    except LipschitzError as refusal:
        voice.fail(refusal.slug, refusal.detail)
    except MemoryError as error:
        voice.fail("out-of-memory", f"The analysis needed more memory than there is. {error}".strip())
    except Exception as error:
        with suppress(OSError):
            traceback.print_exc()
        voice.fail("analysis-failed", f"{type(error).__name__}: {error}")


def _received(size: int) -> bytes:
    data = sys.stdin.buffer.read(size)
    if len(data) < size:
        sys.exit("the supervisor is gone")
    return data
