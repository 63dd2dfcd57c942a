"""Numbers as protocol buffers write them: base 128, the least digits first."""

from __future__ import annotations

from mmap import mmap

MAX_BYTES = 10


class NoVarint(ValueError):
    """No number ends here."""


def read_varint(data: bytes | mmap, start: int, end: int) -> tuple[int, int]:
    """The number at `start` and the position after it; NoVarint where none ends before `end`."""
    value = 0
    for index, position in enumerate(range(start, min(start + MAX_BYTES, end))):
        byte = data[position]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + 1
    raise NoVarint
