"""What a bounding child's answer is made of: the message, and the files that came with it."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..contract.messages import NoMessage, read_certificate
from ..contract.plain import Json
from .child import Message, ProtocolBroken, Sink

ANSWERS = ("progress", "result", "comparison", "error")
FILES = ("witness", "certificate", "radii")


@dataclass(frozen=True)
class Answer:
    """A result with its witness, an npz file, its certificate, and the radii of all rows, an npz file, where there are
    any.
    """

    result: Json
    witness: bytes | None
    certificate: Json | None
    radii: bytes | None = None


@dataclass(frozen=True)
class Files:
    """Where the files of one answer gather."""

    parts: dict[str, bytearray] = field(default_factory=lambda: {name: bytearray() for name in FILES})

    def sinks(self, max_bytes: int) -> dict[str, Sink]:
        """Where each goes."""
        return {name: Sink(part.extend, max_bytes) for name, part in self.parts.items()}

    def answer(self, message: Message) -> Answer:
        """The whole answer; ProtocolBroken where its certificate is none."""
        files = {name: bytes(self.parts[name]) for name in message.files}
        try:
            certificate = read_certificate(files["certificate"]) if "certificate" in files else None
        except NoMessage as error:
            raise ProtocolBroken(str(error)) from error
        return Answer(message.body, files.get("witness"), certificate, files.get("radii"))
