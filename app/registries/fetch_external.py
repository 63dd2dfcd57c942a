"""ONNX files whose weights lie in files beside them, made whole: one file, the same numbers.

Registries split models so; the service takes models as one file. Only the wire format is read, nothing is interpreted:
ModelProto.graph (7), GraphProto.initializer (5), TensorProto.external_data (13) and data_location (14) are found by
their numbers, and the bytes go to TensorProto.raw_data (9).

This is the only look that the service itself takes into a model, so it is bounded whatever the file holds: each field
is visited once, at most `MAX_FIELDS` of them, three levels deep; payloads are skipped, and copied in chunks from the
mapped file to the disk; the texts that are read at all are at most `MAX_TEXT` bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from mmap import mmap
from pathlib import Path, PurePosixPath

from app.errors import InvalidModel

BYTES = 2
GRAPH, INITIALIZER, RAW_DATA, EXTERNAL_DATA, DATA_LOCATION = 7, 5, 9, 13, 14
EXTERNAL = 1
CHUNK = 2**20
MAX_FILES = 1000
MAX_FIELDS = 200_000
"""About a second's work; a model of 20,000 nodes with 5,000 tensors beside it has 90,000."""
MAX_TEXT = 4096
MAX_DIGITS = 18

Buffer = bytes | mmap
Range = tuple[int, int]


@dataclass(frozen=True)
class Field:
    """One field of a message: its number, where it begins, its payload begins and it ends; `value` of a varint."""

    number: int
    start: int
    payload: int
    end: int
    value: int


@dataclass(frozen=True)
class Weights:
    """A tensor whose bytes are `length` bytes from `offset` of a file; None: up to its end."""

    location: str
    offset: int
    length: int | None


def external_files(model: Buffer) -> list[str]:
    """The files beside the model that hold its weights, as relative paths; InvalidModel where one leads elsewhere."""
    message = _Message(model)
    found = dict.fromkeys(
        weights.location
        for graph in message.fields(0, len(model))
        if graph.number == GRAPH
        for tensor in message.fields(graph.payload, graph.end)
        if tensor.number == INITIALIZER and (weights := _weights(message, tensor)) is not None
    )
    if len(found) > MAX_FILES:
        raise InvalidModel(f"The weights lie in more than {MAX_FILES} files.")
    return list(found)


def embed(model: Buffer, files: dict[str, Path], write: Callable[[bytes], None]) -> None:
    """Hand the model to `write` with the weights of `files`, which are given by their location, put in."""
    message = _Message(model)
    for field in message.fields(0, len(model)):
        if field.number != GRAPH:
            _copy(model, (field.start, field.end), write)
            continue
        pieces = [_piece(message, tensor, files) for tensor in list(message.fields(field.payload, field.end))]
        write(_tag(GRAPH, BYTES) + _varint(sum(piece.size for piece in pieces)))
        for piece in pieces:
            piece.write(model, write)


@dataclass(frozen=True)
class _Piece:
    """A field of the graph as it will be: `head`, ranges of the model, `middle`, then `length` bytes of a file."""

    ranges: tuple[Range, ...]
    head: bytes = b""
    middle: bytes = b""
    path: Path | None = None
    offset: int = 0
    length: int = 0

    @property
    def size(self) -> int:
        return len(self.head) + _length(self.ranges) + len(self.middle) + self.length

    def write(self, model: Buffer, write: Callable[[bytes], None]) -> None:
        write(self.head)
        for one in self.ranges:
            _copy(model, one, write)
        write(self.middle)
        if self.path is None:
            return
        with self.path.open("rb") as file:
            file.seek(self.offset)
            left = self.length
            while left and (chunk := file.read(min(left, CHUNK))):
                left -= len(chunk)
                write(chunk)


def _piece(message: _Message, tensor: Field, files: dict[str, Path]) -> _Piece:
    weights = _weights(message, tensor) if tensor.number == INITIALIZER else None
    if weights is None:
        return _Piece(((tensor.start, tensor.end),))
    path = files[weights.location]
    there = path.stat().st_size
    length = there - weights.offset if weights.length is None else weights.length
    if not 0 <= weights.offset <= weights.offset + length <= there:
        raise InvalidModel(f"The file {weights.location!r} is shorter than the model says.")
    replaced = (EXTERNAL_DATA, DATA_LOCATION, RAW_DATA)
    fields = message.fields(tensor.payload, tensor.end)
    kept = tuple((field.start, field.end) for field in fields if field.number not in replaced)
    middle = _tag(RAW_DATA, BYTES) + _varint(length)
    head = _tag(INITIALIZER, BYTES) + _varint(_length(kept) + len(middle) + length)
    return _Piece(kept, head, middle, path, weights.offset, length)


def _copy(model: Buffer, one: Range, write: Callable[[bytes], None]) -> None:
    for start in range(one[0], one[1], CHUNK):
        write(model[start : min(start + CHUNK, one[1])])


def _length(ranges: tuple[Range, ...]) -> int:
    return sum(end - start for start, end in ranges)


def _weights(message: _Message, tensor: Field) -> Weights | None:
    """Where a tensor's bytes lie, None where they are in the model itself."""
    fields = [
        field for field in message.fields(tensor.payload, tensor.end) if field.number in (DATA_LOCATION, EXTERNAL_DATA)
    ]
    if not any(field.number == DATA_LOCATION and field.value == EXTERNAL for field in fields):
        return None
    entries = dict(_entry(message, field) for field in fields if field.number == EXTERNAL_DATA)
    location, offset, length = entries.get("location", ""), entries.get("offset", "0"), entries.get("length")
    path = PurePosixPath(location)
    if not location or path.is_absolute() or ".." in path.parts or "\\" in location or not location.isprintable():
        raise InvalidModel(f"The weights lie in {location!r}, which is not a file beside the model.")
    for number in (offset, length or "0"):
        if not (number.isascii() and number.isdecimal() and len(number) <= MAX_DIGITS):
            raise InvalidModel("The place of the weights in their file is not a number.")
    return Weights(location, int(offset), None if length is None else int(length))


def _entry(message: _Message, field: Field) -> tuple[str, str]:
    """Key (1) and value (2) of a StringStringEntryProto."""
    if field.end - field.payload > MAX_TEXT:
        raise InvalidModel("The place of the weights takes too long to tell.")
    parts = message.fields(field.payload, field.end)
    found = {part.number: message.data[part.payload : part.end] for part in parts}
    return found.get(1, b"").decode("utf-8", "replace"), found.get(2, b"").decode("utf-8", "replace")


class _Message:
    """The bytes of a model, and how many of their fields may still be visited."""

    def __init__(self, data: Buffer) -> None:
        self.data = data
        self._left = MAX_FIELDS

    def fields(self, position: int, end: int) -> Iterator[Field]:
        """The fields of the message between two positions; InvalidModel where it is none, or has too many."""
        while position < end:
            self._left -= 1
            if self._left < 0:
                raise InvalidModel(
                    f"The file has more than {MAX_FIELDS} parts, so no weights beside it are looked for."
                )
            field = _field(self.data, position, end)
            position = field.end
            yield field


def _field(data: Buffer, start: int, end: int) -> Field:
    tag, position = _read_varint(data, start, end)
    payload, value = position, 0
    match tag & 7:
        case 0:
            value, position = _read_varint(data, position, end)
        case 1:
            position += 8
        case 2:
            length, payload = _read_varint(data, position, end)
            position = payload + length
        case 5:
            position += 4
        case _:
            raise InvalidModel("The file is not a well-formed ONNX message.")
    if position > end:
        raise InvalidModel("The file ends in the middle of an ONNX message.")
    return Field(tag >> 3, start, payload, position, value)


def _read_varint(data: Buffer, position: int, end: int) -> tuple[int, int]:
    value = 0
    for index in range(10):
        if position + index >= end:
            break
        byte = data[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise InvalidModel("The file is not a well-formed ONNX message.")


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])


def _tag(number: int, wire: int) -> bytes:
    return _varint(number << 3 | wire)
