"""What the child does all day: read a request, run it, answer. One JSON object a line each way."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO, Protocol

from app.lipschitz.errors import LipschitzError
from app.worker.parent import die_with_parent, take_standard_output

Progress = Callable[[dict[str, object]], None]
Message = dict[str, Any]


class Library(Protocol):
    """What the child can run; loaded after the ties to the supervisor are in place."""

    def describe(self) -> dict[str, str]:
        """Warm up; the device that jobs will run on, and the versions at work."""

    def inspect(self, path: str) -> dict[str, Any]:
        """What the file is, as JSON."""

    def analyze(self, path: str, request: dict[str, object], progress: Progress, dataset: str | None) -> dict[str, Any]:
        """The model in the file at `path`, `dataset` another file's path.

        Returns `{"result": ..., "witness": base64 or None, "certificate": ... or None}`.
        """


def serve(load: Callable[[], Library]) -> None:
    """Run until the supervisor closes the pipe."""
    die_with_parent()
    pipe = take_standard_output()
    library = load()
    _send(pipe, _encoded({"type": "ready", **library.describe()}))
    for line in sys.stdin.buffer:
        _send(pipe, _answer(library, json.loads(line), pipe))


def _answer(library: Library, message: Message, pipe: BinaryIO) -> bytes:
    def report(progress: dict[str, object]) -> None:
        _send(pipe, _encoded({"type": "progress", "progress": progress}))

    try:
        return _encoded(_run(library, message, report))
    except LipschitzError as refusal:
        return _error(refusal.slug, refusal.detail)
    except MemoryError as error:
        return _error("out-of-memory", f"The analysis needed more memory than there is. {error}".strip())
    except Exception as error:
        traceback.print_exc()
        return _error("analysis-failed", f"{type(error).__name__}: {error}")


def _run(library: Library, message: Message, progress: Progress) -> Message:
    if message["kind"] == "inspect":
        envelope: Message = {"result": library.inspect(message["path"]), "witness": None, "certificate": None}
        return {"type": "result"} | envelope
    envelope = library.analyze(message["path"], message["request"], progress, message.get("dataset"))
    return {"type": "result"} | envelope


def _error(slug: str, detail: str) -> bytes:
    return _encoded({"type": "error", "slug": slug, "detail": detail})


def _encoded(message: Message) -> bytes:
    return json.dumps(message, allow_nan=False).encode() + b"\n"


def _send(pipe: BinaryIO, line: bytes) -> None:
    pipe.write(line)
    pipe.flush()
