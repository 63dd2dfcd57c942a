"""What children are asked, and how their answers are heard: the same for the service and for the command line."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol

from ..contract.plain import Json
from .answers import ANSWERS
from .artifacts import max_bytes
from .child import Child, Message, Sink, size_of

POLL_S = 0.1
"""How long a child is listened to before whoever waits for it looks at what else there is to do."""


@dataclass(frozen=True)
class Question:
    """`answers` are the kinds of messages that may come, `sinks` take their files."""

    kind: str
    request: Mapping[str, Any]
    files: Mapping[str, BinaryIO]
    answers: Collection[str]
    sinks: Mapping[str, Sink] = field(default_factory=dict)

    def put_to(self, child: Child) -> None:
        """Have it written while the child is listened to; raises as `Child.ask`."""
        child.ask(self.kind, self.request, self.files, self.answers, self.sinks)


class Listener(Protocol):
    """Who waits for a child's answer."""

    def note(self, progress: Json) -> None:
        """How far the child has come."""

    def tend(self) -> None:
        """What has to be done now and then, whether the child speaks or not; raises what ends the waiting."""


def hear(child: Child, listener: Listener, within_s: float = math.inf) -> Message | None:
    """The child's next answer that is no report of progress, None where none comes in time; raises as
    `Child.receive`, and what the listener raises.
    """
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        message = child.receive(POLL_S)
        if message is not None and message.kind != "progress":
            return message
        if message is not None:
            listener.note(message.body)
        listener.tend()
    return None


def inspection(model: BinaryIO, write: Callable[[bytes], object], *, captures: bool) -> Question:
    """What the model's file says, and if it `captures` too, the graph afterwards."""
    return Question(
        "inspect", {"capture": captures}, {"model": model}, ("inspection", "artifact", "error"), _artifact(write, model)
    )


def capture(model: BinaryIO, inputs: Any, write: Callable[[bytes], object]) -> Question:
    """The model's captured graph, for inputs of these shapes."""
    return Question("capture", {"inputs": inputs}, {"model": model}, ("artifact", "error"), _artifact(write, model))


def about_graph(
    kind: str, request: Json, model: str, files: Mapping[str, BinaryIO], sinks: Mapping[str, Sink]
) -> Question:
    """Of a captured graph, which is among the `files`, its bracket (`analyze`), how far it is from that of the second
    file (`compare`), or the `graph` as JSON for people.
    """
    answers = ("graph", "error") if kind == "graph" else ANSWERS
    return Question(kind, {"request": request, "model": model}, files, answers, sinks)


def verification(request: Mapping[str, Any], files: Mapping[str, BinaryIO]) -> Question:
    """Whether a certificate holds."""
    return Question("verify", request, files, ("verdict", "error"))


def _artifact(write: Callable[[bytes], object], model: BinaryIO) -> dict[str, Sink]:
    return {"artifact": Sink(write, max_bytes(size_of(model)))}
