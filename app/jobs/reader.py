"""Bytes from a child's pipe become messages: sizes are checked before they are read, types after."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from ..contract.frames import MAX_HEADER_BYTES, Header, NoHeader
from ..contract.messages import NoMessage, max_bytes, read
from ..contract.plain import Json


class ProtocolBroken(Exception):
    """The child sent what is not a message, or not now, or did not read what it was sent."""


@dataclass(frozen=True)
class Sink:
    """Where a file that a child sends goes, piece by piece, and how large it may be."""

    write: Callable[[bytes], object]
    max_bytes: int


@dataclass(frozen=True)
class Message:
    """What a child said: plain JSON of its kind's type; its files are in their sinks."""

    kind: str
    body: Json
    files: Collection[str] = ()


class Reader:
    """Holds one message's bytes at most, and what the last read brought beside it."""

    def __init__(self, turn: str, kinds: Collection[str], sinks: Mapping[str, Sink]) -> None:
        self._turn, self._kinds, self._sinks = turn, kinds, sinks
        self._buffer = bytearray()
        self._header: Header | None = None
        self._body: Json | None = None
        self._files: list[tuple[str, int]] = []

    @property
    def is_empty(self) -> bool:
        """Whether nothing has come since the last whole message."""
        return self._header is None and not self._buffer

    def feed(self, data: bytes) -> None:
        """Take what the pipe brought."""
        self._buffer += data

    def take(self) -> Message | None:
        """The next message that has come whole; ProtocolBroken where what comes is none."""
        if self._header is None and not self._take_header():
            return None
        assert self._header is not None
        if self._body is None and not self._take_body(self._header):
            return None
        if not self._take_files():
            return None
        message = Message(self._header.kind, self._body or {}, (*self._header.files,))
        self._header = self._body = None
        return message

    def _take_header(self) -> bool:
        end = self._buffer.find(b"\n", 0, MAX_HEADER_BYTES)
        if end < 0 and len(self._buffer) < MAX_HEADER_BYTES:
            return False
        try:
            header = Header.decode(self._taken(end + 1)[:-1] if end >= 0 else bytes(self._buffer[:MAX_HEADER_BYTES]))
            self._check(header)
        except (NoHeader, NoMessage) as error:
            raise ProtocolBroken(str(error)) from error
        self._header, self._files = header, list(header.files.items())
        return True

    def _check(self, header: Header) -> None:
        if header.turn != self._turn or header.kind not in self._kinds:
            raise NoMessage(f"a message of kind {header.kind!r} came out of turn")
        if header.size > max_bytes(header.kind):
            raise NoMessage(f"a message of kind {header.kind!r} wants to take {header.size} bytes")
        for name, size in header.files.items():
            if name not in self._sinks or size > self._sinks[name].max_bytes:
                raise NoMessage(f"a file {name!r} of {size} bytes was not asked for")

    def _take_body(self, header: Header) -> bool:
        if len(self._buffer) < header.size:
            return False
        try:
            self._body = read(header.kind, self._taken(header.size))
        except NoMessage as error:
            raise ProtocolBroken(str(error)) from error
        return True

    def _take_files(self) -> bool:
        while self._files:
            name, left = self._files[0]
            piece = self._taken(min(left, len(self._buffer)))
            self._sinks[name].write(piece)
            if len(piece) < left:
                self._files[0] = (name, left - len(piece))
                return False
            self._files.pop(0)
        return True

    def _taken(self, size: int) -> bytes:
        piece = bytes(self._buffer[:size])
        del self._buffer[:size]
        return piece
