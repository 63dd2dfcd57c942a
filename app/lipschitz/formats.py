"""Which format a file has, told by its content and never by its name, without parsing it. The only place that knows.

TorchScript: a zip with `constants.pkl` and `code/` under one top folder. torch.export: a zip with `models/*.json`
(torch >= 2.8), or `serialized_exported_program.json` (before). ONNX is a protobuf, which has no magic number: the tags
of its top level are walked through. A bundle is an ONNX model with the files of its weights.
"""

from __future__ import annotations

import re
import struct
import zipfile
from collections.abc import Callable
from typing import IO, BinaryIO, Literal

from . import foreign
from .bundle import is_bundle
from .errors import InvalidModel, NotAModel, TooLarge
from .varint import NoVarint, read_varint

Format = Literal["onnx", "torchscript", "torch_export"]

MAX_UNPACKED = 8 * 2**30
"""Bytes that an archive may unpack to."""
MAX_DIRECTORY_BYTES = 4 * 2**20
ARCHIVE = b"PK\x03\x04"
"""How every TorchScript and torch.export file begins; such a file is a program."""
END_RECORD = b"PK\x05\x06"
END_RECORD_REACH = 22 + 65_535 + 1024
ZIP64_RECORD = b"PK\x06\x06"
ZIP64_LOCATOR = b"PK\x06\x07"
ZIP64_SIZE = 2**32 - 1
"""A size of the end record that a zip64 record tells."""

VARINT, BYTES = 0, 2
MODEL_PROTO_FIELDS = {1: VARINT, 2: BYTES, 3: BYTES, 4: BYTES, 5: VARINT, 6: BYTES, 7: BYTES, 8: BYTES}
MODEL_PROTO_FIELDS |= {14: BYTES, 20: BYTES, 25: BYTES, 26: BYTES}
GRAPH_FIELD = 7
MAX_TOP_LEVEL_FIELDS = 100_000


def detect(file: BinaryIO, max_unpacked: int = MAX_UNPACKED) -> Format:
    """The file's format; NotAModel with what it is instead, InvalidModel where it is damaged, or TooLarge."""
    if is_bundle(file):
        return "onnx"
    size = file.seek(0, 2)
    file.seek(0)
    head = file.read(foreign.HEAD)
    if head.startswith(ARCHIVE):
        return _archive_format(open_zip(file, max_unpacked, InvalidModel).namelist())
    if is_onnx(file, 0, size):
        return "onnx"
    raise NotAModel(foreign.of_bytes(head, size))


def is_program(file: BinaryIO) -> bool:
    """Whether the file is one that is run to be read."""
    if is_bundle(file):
        return False
    file.seek(0)
    return file.read(len(ARCHIVE)) == ARCHIVE


def open_zip(file: IO[bytes], max_unpacked: int, invalid: Callable[[str], Exception]) -> zipfile.ZipFile:
    """The archive, once its directory is known to be small and its entries not too large; else `invalid`, TooLarge."""
    size = _directory_bytes(file)
    if size is None:
        raise invalid("The zip archive is truncated: it has no directory.")
    if size > MAX_DIRECTORY_BYTES:
        raise invalid(f"The zip directory is larger than {MAX_DIRECTORY_BYTES} bytes.")
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, ValueError, LookupError, struct.error, NotImplementedError, OSError, EOFError) as error:
        raise invalid("The zip archive is truncated or damaged.") from error
    if not all(archive.namelist()):
        raise invalid("The zip archive holds an entry without a name.")
    if sum(entry.file_size for entry in archive.infolist()) > max_unpacked:
        raise TooLarge(f"The archive unpacks to more than {max_unpacked} bytes.")
    return archive


def is_onnx(file: BinaryIO, start: int, end: int) -> bool:
    """Whether the tags between two positions are those of an ONNX ModelProto with a graph, possibly cut short."""
    position, fields = start, set()
    for _ in range(MAX_TOP_LEVEL_FIELDS):
        if position >= end:
            return GRAPH_FIELD in fields
        file.seek(position)
        head = file.read(20)
        try:
            tag, used = read_varint(head, 0, len(head))
            value, used = read_varint(head, used, len(head))
        except NoVarint:
            return False
        field, wire = tag >> 3, tag & 7
        if MODEL_PROTO_FIELDS.get(field) != wire:
            return False
        fields.add(field)
        position += used + (value if wire == BYTES else 0)
    return False


def program_format(names: list[str]) -> Format | None:
    """Which of the archives of torch has entries of these names, None for others."""
    tails = {name.partition("/")[2] for name in names}
    if any(_is_export_program(name) for name in names):
        return "torch_export"
    if "constants.pkl" in tails and any(tail.startswith("code/") for tail in tails):
        return "torchscript"
    return None


def _archive_format(names: list[str]) -> Format:
    program = program_format(names)
    if program is None:
        raise NotAModel(foreign.of_entries(names))
    return program


def _is_export_program(name: str) -> bool:
    folder, _, leaf = name.rpartition("/")
    return leaf == "serialized_exported_program.json" or (
        folder.rpartition("/")[2] == "models" and leaf.endswith(".json")
    )


def _directory_bytes(file: IO[bytes]) -> int | None:
    """The largest size that the central directory may be taken to have, None without one.

    Which of several records a reader takes is for the reader to say, so all that lie before the end count; the end's
    own does not where a zip64 record takes its place.
    """
    size = file.seek(0, 2)
    file.seek(max(0, size - END_RECORD_REACH))
    tail = file.read()
    end = tail.rfind(END_RECORD)
    if end < 0 or len(tail) < end + 22:
        return None
    places = [match.start() for match in re.finditer(re.escape(ZIP64_RECORD), tail[:end])]
    sizes = [int(struct.unpack_from("<Q", tail, place + 40)[0]) for place in places if place <= end - 56]
    own = int(struct.unpack_from("<I", tail, end + 12)[0])
    is_replaced = own == ZIP64_SIZE and tail[max(end - 20, 0) : end].startswith(ZIP64_LOCATOR)
    return max(sizes) if sizes and is_replaced else max(own, *sizes, 0)
