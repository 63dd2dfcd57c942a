"""How supervisor and child tell messages apart on their pipes: a header's line, a body, files.

The header names the kind, the turn that it belongs to, and every size that follows, so that a reader knows what to
expect, and refuses what it does not, before it holds a byte of it:

    result 5f0c2a9e 1042 witness=3364 certificate=20113
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_HEADER_BYTES = 256

_HEADER = re.compile(rb"([a-z]{1,16}) ([0-9a-f]{1,32}) (\d{1,15})((?: [a-z]{1,16}=\d{1,15}){0,4})")


class NoHeader(ValueError):
    """The bytes are not a header."""


@dataclass(frozen=True)
class Header:
    """`size` is the body's, `files` those of the files after it, in this order; all in bytes."""

    kind: str
    turn: str
    size: int
    files: Mapping[str, int] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The header's line, with its end."""
        files = "".join(f" {name}={size}" for name, size in self.files.items())
        return f"{self.kind} {self.turn} {self.size}{files}\n".encode()

    @classmethod
    def decode(cls, line: bytes) -> Header:
        """The header on a line without its end; NoHeader where it is none."""
        match = _HEADER.fullmatch(line)
        if match is None:
            raise NoHeader(f"{line[:40]!r} is not a header")
        kind, turn, size, files = match.groups()
        pairs = [entry.partition(b"=") for entry in files.split()]
        sizes = {name.decode(): int(value) for name, _, value in pairs}
        if len(sizes) < len(pairs):
            raise NoHeader(f"{line[:40]!r} names a file twice")
        return cls(kind.decode(), turn.decode(), int(size), sizes)
