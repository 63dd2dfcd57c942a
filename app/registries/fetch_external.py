"""ONNX files whose weights lie in files beside them, made whole: one file, the same numbers.

Registries split models so; the service takes models as one file. Only the wire format is read, nothing is interpreted:
ModelProto.graph (7), GraphProto.initializer (5), TensorProto.external_data (13) and data_location (14) are found by
their numbers, and the bytes go to TensorProto.raw_data (9).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from app.errors import InvalidModel

BYTES = 2
GRAPH, INITIALIZER, RAW_DATA, EXTERNAL_DATA, DATA_LOCATION = 7, 5, 9, 13, 14
EXTERNAL = 1
CHUNK = 2**20
MAX_FILES = 1000


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


def external_files(model: bytes) -> list[str]:
    """The files beside the model that hold its weights, as relative paths; InvalidModel where one leads elsewhere."""
    found = dict.fromkeys(
        weights.location
        for graph in _fields(model, 0, len(model))
        if graph.number == GRAPH
        for tensor in _fields(model, graph.payload, graph.end)
        if tensor.number == INITIALIZER and (weights := _weights(model, tensor)) is not None
    )
    if len(found) > MAX_FILES:
        raise InvalidModel(f"The weights lie in more than {MAX_FILES} files.")
    return list(found)


def embed(model: bytes, files: dict[str, Path], write: Callable[[bytes], None]) -> None:
    """Hand the model to `write` with the weights of `files`, which are given by their location, put in."""
    for field in _fields(model, 0, len(model)):
        if field.number != GRAPH:
            write(model[field.start : field.end])
            continue
        tensors = list(_fields(model, field.payload, field.end))
        pieces = [_piece(model, tensor, files) for tensor in tensors]
        write(_tag(GRAPH, BYTES) + _varint(sum(piece.size for piece in pieces)))
        for piece in pieces:
            for chunk in piece.chunks():
                write(chunk)


@dataclass(frozen=True)
class _Piece:
    """A field of the graph as it will be: `head`, then `length` bytes of a file."""

    head: bytes
    path: Path | None = None
    offset: int = 0
    length: int = 0

    @property
    def size(self) -> int:
        return len(self.head) + self.length

    def chunks(self) -> Iterator[bytes]:
        yield self.head
        if self.path is None:
            return
        with self.path.open("rb") as file:
            file.seek(self.offset)
            left = self.length
            while left:
                chunk = file.read(min(left, CHUNK))
                left -= len(chunk)
                yield chunk


def _piece(model: bytes, tensor: Field, files: dict[str, Path]) -> _Piece:
    weights = _weights(model, tensor) if tensor.number == INITIALIZER else None
    if weights is None:
        return _Piece(model[tensor.start : tensor.end])
    path = files[weights.location]
    there = path.stat().st_size
    length = there - weights.offset if weights.length is None else weights.length
    if not 0 <= weights.offset <= weights.offset + length <= there:
        raise InvalidModel(f"The file {weights.location!r} is shorter than the model says.")
    replaced = (EXTERNAL_DATA, DATA_LOCATION, RAW_DATA)
    kept = [field for field in _fields(model, tensor.payload, tensor.end) if field.number not in replaced]
    body = b"".join(model[field.start : field.end] for field in kept) + _tag(RAW_DATA, BYTES) + _varint(length)
    head = _tag(INITIALIZER, BYTES) + _varint(len(body) + length) + body
    return _Piece(head, path, weights.offset, length)


def _weights(model: bytes, tensor: Field) -> Weights | None:
    """Where a tensor's bytes lie, None where they are in the model itself."""
    fields = list(_fields(model, tensor.payload, tensor.end))
    if not any(field.number == DATA_LOCATION and field.value == EXTERNAL for field in fields):
        return None
    entries = dict(_entry(model, field) for field in fields if field.number == EXTERNAL_DATA)
    location, offset, length = entries.get("location", ""), entries.get("offset", "0"), entries.get("length")
    path = PurePosixPath(location)
    if not location or path.is_absolute() or ".." in path.parts or "\\" in location or not location.isprintable():
        raise InvalidModel(f"The weights lie in {location!r}, which is not a file beside the model.")
    if not all(number.isascii() and number.isdecimal() for number in (offset, length or "0")):
        raise InvalidModel("The place of the weights in their file is not a number.")
    return Weights(location, int(offset), None if length is None else int(length))


def _entry(model: bytes, field: Field) -> tuple[str, str]:
    """Key (1) and value (2) of a StringStringEntryProto."""
    found = {part.number: model[part.payload : part.end] for part in _fields(model, field.payload, field.end)}
    return found.get(1, b"").decode("utf-8", "replace"), found.get(2, b"").decode("utf-8", "replace")


def _fields(data: bytes, position: int, end: int) -> Iterator[Field]:
    """The fields of the message between two positions; InvalidModel where it is none."""
    while position < end:
        start = position
        tag, position = _read_varint(data, position, end)
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
        yield Field(tag >> 3, start, payload, position, value)


def _read_varint(data: bytes, position: int, end: int) -> tuple[int, int]:
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
