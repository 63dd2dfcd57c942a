"""Which files an ONNX file names as those of its weights, told without parsing it.

Who fetches or sends a model has to know what lies beside it. Only the wire format is read, nothing is interpreted:
ModelProto.graph (7), GraphProto.initializer (5), TensorProto.external_data (13) and data_location (14) are found by
their numbers. It is bounded whatever the file holds: each field is visited once, at most `MAX_FIELDS` of them, three
levels deep; payloads are skipped; the texts that are read at all are at most `MAX_TEXT` bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path

from .bundle import MAX_FILES, path_of
from .errors import InvalidModel
from .varint import NoVarint, read_varint

GRAPH, INITIALIZER, EXTERNAL_DATA, DATA_LOCATION = 7, 5, 13, 14
EXTERNAL = 1
MAX_SPLIT_BYTES = 256 * 2**20
"""Largest file without its weights."""
ZIP = b"PK\x03\x04"
MAX_FIELDS = 200_000
"""About a second's work; a model of 20,000 nodes with 5,000 tensors beside it has 90,000."""
MAX_TEXT = 4096
MAX_DIGITS = 18

Buffer = bytes | mmap


@dataclass(frozen=True)
class Field:
    """One field of a message: its number, where it begins, its payload begins and it ends; `value` of a varint."""

    number: int
    start: int
    payload: int
    end: int
    value: int


@dataclass(frozen=True)
class Place:
    """Where a tensor's bytes are: `length` bytes from `offset` of a file; None: as many as the tensor takes."""

    location: str
    offset: int
    length: int | None

    @classmethod
    def of(cls, entries: Mapping[str, str]) -> Place:
        """The place that the entries of a tensor's `external_data` tell; InvalidModel where they tell none."""
        offset, length = entries.get("offset", "0"), entries.get("length")
        for number in (offset, length or "0"):
            if not (number.isascii() and number.isdecimal() and len(number) <= MAX_DIGITS):
                raise InvalidModel("The place of the weights in their file is not a number.")
        return cls(path_of(entries.get("location", "")), int(offset), None if length is None else int(length))


def files_beside(path: Path) -> list[str]:
    """The files beside the model at `path` that hold its weights; none where it is no ONNX file that can be read."""
    with path.open("rb") as file:
        if not 0 < path.stat().st_size <= MAX_SPLIT_BYTES:
            return []
        with mmap(file.fileno(), 0, access=ACCESS_READ) as model:
            try:
                return [] if model[: len(ZIP)] == ZIP else external_files(model)
            except InvalidModel:  # which its reader will say
                return []


def external_files(model: Buffer) -> list[str]:
    """The files beside the model that hold its weights, as relative paths; InvalidModel where one leads elsewhere."""
    message = _Message(model)
    names = dict.fromkeys(
        place.location
        for graph in message.fields(0, len(model))
        if graph.number == GRAPH
        for tensor in message.fields(graph.payload, graph.end)
        if tensor.number == INITIALIZER and (place := _place(message, tensor)) is not None
    )
    if len(names) > MAX_FILES:
        raise InvalidModel(f"The weights lie in more than {MAX_FILES} files.")
    return list(names)


def _place(message: _Message, tensor: Field) -> Place | None:
    """Where a tensor's bytes lie, None where they are in the model itself."""
    fields = [
        field for field in message.fields(tensor.payload, tensor.end) if field.number in (DATA_LOCATION, EXTERNAL_DATA)
    ]
    if not any(field.number == DATA_LOCATION and field.value == EXTERNAL for field in fields):
        return None
    return Place.of(dict(_entry(message, field) for field in fields if field.number == EXTERNAL_DATA))


def _entry(message: _Message, field: Field) -> tuple[str, str]:
    """Key (1) and value (2) of a StringStringEntryProto."""
    if field.end - field.payload > MAX_TEXT:
        raise InvalidModel("The place of the weights takes too long to tell.")
    parts = message.fields(field.payload, field.end)
    fields = {part.number: message.data[part.payload : part.end] for part in parts}
    return fields.get(1, b"").decode("utf-8", "replace"), fields.get(2, b"").decode("utf-8", "replace")


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
    try:
        return read_varint(data, position, end)
    except NoVarint as error:
        raise InvalidModel("The file is not a well-formed ONNX message.") from error
