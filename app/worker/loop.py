"""What the child does all day: read a request, run it, answer.

A request is one JSON object on a line, then the bytes of its files, as many as `sizes` says. An answer is one JSON
object on a line.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO, Protocol

from app.lipschitz.errors import LipschitzError
from app.worker.parent import die_with_parent, take_standard_output

Progress = Callable[[dict[str, object]], None]
Message = dict[str, Any]


class Library(Protocol):
    """What the child can run; loaded after the ties to the supervisor are in place."""

    def describe(self) -> dict[str, Any]:
        """Warm up; the device that jobs will run on, the version of torch, how far the process is confined."""

    def inspect(self, data: bytes) -> dict[str, Any]:
        """What the file is, as JSON."""

    def graph(self, data: bytes, request: dict[str, Any]) -> dict[str, Any]:
        """The model's captured graph, as JSON; `request` gives `inputs`."""

    def analyze(
        self, data: bytes, request: dict[str, object], progress: Progress, dataset: bytes | None
    ) -> dict[str, Any]:
        """The model file `data`, with a data set's file.

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
        model, dataset = _files(message["sizes"])
    except MemoryError:
        _send(pipe, _error("out-of-memory", "The files are larger than the memory that a job may take."))
        sys.exit("the rest of the request is not read")
    try:
        return _encoded(_run(library, message, model, dataset, report))
    except LipschitzError as refusal:
        return _error(refusal.slug, refusal.detail)
    except MemoryError as error:
        return _error("out-of-memory", f"The analysis needed more memory than there is. {error}".strip())
    except Exception as error:
        with suppress(OSError):
            traceback.print_exc()
        return _error("analysis-failed", f"{type(error).__name__}: {error}")


def _files(sizes: dict[str, int | None]) -> tuple[bytes, bytes | None]:
    """The model's bytes and the data set's."""
    assert sizes["model"] is not None
    return _received(sizes["model"]), None if sizes["dataset"] is None else _received(sizes["dataset"])


def _received(size: int) -> bytes:
    data = sys.stdin.buffer.read(size)
    if len(data) < size:
        sys.exit("the supervisor is gone")
    return data


def _run(library: Library, message: Message, model: bytes, dataset: bytes | None, progress: Progress) -> Message:
    if message["kind"] == "analyze":
        return {"type": "result"} | library.analyze(model, message["request"], progress, dataset)
    result = library.inspect(model) if message["kind"] == "inspect" else library.graph(model, message["request"])
    return {"type": "result", "result": result, "witness": None, "certificate": None}


def _error(slug: str, detail: str) -> bytes:
    return _encoded({"type": "error", "slug": slug, "detail": detail})


def _encoded(message: Message) -> bytes:
    return json.dumps(message, allow_nan=False).encode() + b"\n"


def _send(pipe: BinaryIO, line: bytes) -> None:
    pipe.write(line)
    pipe.flush()
