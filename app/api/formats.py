"""What an uploaded file claims to be, told without parsing it: from tags, markers and declared sizes."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import IO, BinaryIO

from app.errors import InvalidModel, NotAModel, Problem, TooLarge

MAX_DIRECTORY_BYTES = 4 * 2**20
END_RECORD = b"PK\x05\x06"
END_RECORD_REACH = 22 + 65_535 + 1024
ZIP64_RECORD = b"PK\x06\x06"

VARINT, BYTES = 0, 2
MODEL_PROTO_FIELDS = {1: VARINT, 2: BYTES, 3: BYTES, 4: BYTES, 5: VARINT, 6: BYTES, 7: BYTES, 8: BYTES}
MODEL_PROTO_FIELDS |= {14: BYTES, 20: BYTES, 25: BYTES, 26: BYTES}
GRAPH_FIELD = 7
MAX_TOP_LEVEL_FIELDS = 100_000


def detect(path: Path, max_unpacked_bytes: int) -> str:
    """`onnx`, `torchscript` or `torch_export`; NotAModel, InvalidModel or TooLarge otherwise."""
    with path.open("rb") as file:
        if file.read(4) == b"PK\x03\x04":
            return _detect_zip(file, max_unpacked_bytes)
        if _is_model_proto(file, path.stat().st_size):
            return "onnx"
    raise NotAModel("The file is neither ONNX, nor TorchScript, nor a torch.export archive.")


def _detect_zip(file: BinaryIO, max_unpacked_bytes: int) -> str:
    archive = open_zip(file, max_unpacked_bytes, InvalidModel)
    return _archive_format({_inner(name) for name in archive.namelist()})


def open_zip(file: IO[bytes], max_unpacked_bytes: int, invalid: type[Problem]) -> zipfile.ZipFile:
    """The archive, once its directory is known to be small and its entries not too large; else `invalid`, TooLarge."""
    size = _directory_bytes(file)
    if size is None:
        raise invalid("The zip archive is truncated: it has no directory.")
    if size > MAX_DIRECTORY_BYTES:
        raise invalid(f"The zip directory is larger than {MAX_DIRECTORY_BYTES} bytes.")
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise invalid("The zip archive is truncated or damaged.") from error
    if sum(entry.file_size for entry in archive.infolist()) > max_unpacked_bytes:
        raise TooLarge(f"The archive unpacks to more than {max_unpacked_bytes} bytes.")
    return archive


def _archive_format(names: set[str]) -> str:
    if names & {"archive_format", "models/model.json", "serialized_exported_program.json"}:
        return "torch_export"
    if "constants.pkl" in names and any(name.startswith("code/") for name in names):
        return "torchscript"
    if "data.pkl" in names:
        raise NotAModel(
            "The file holds pickled Python objects (torch.save), which are never loaded: "
            "save the model with torch.jit.save, torch.export.save or torch.onnx.export."
        )
    raise NotAModel("The zip archive is neither TorchScript nor a torch.export archive.")


def _inner(name: str) -> str:
    """The entry's name below the archive's own top directory; old torch.export archives have none."""
    return name.partition("/")[2] or name


def _directory_bytes(file: IO[bytes]) -> int | None:
    """Declared size of the central directory, None without one; of two declarations, the zip64 one counts."""
    size = file.seek(0, 2)
    file.seek(max(0, size - END_RECORD_REACH))
    tail = file.read()
    end = tail.rfind(END_RECORD)
    if end < 0 or len(tail) < end + 22:
        return None
    zip64 = tail.rfind(ZIP64_RECORD, 0, end)
    if 0 <= zip64 <= end - 56:
        return int(struct.unpack_from("<Q", tail, zip64 + 40)[0])
    return int(struct.unpack_from("<I", tail, end + 12)[0])


def _is_model_proto(file: BinaryIO, size: int) -> bool:
    """Whether the top-level tags are those of an ONNX ModelProto with a graph, possibly cut short."""
    position, fields = 0, set()
    for _ in range(MAX_TOP_LEVEL_FIELDS):
        if position >= size:
            return GRAPH_FIELD in fields
        file.seek(position)
        head = file.read(20)
        tag, used = _varint(head, 0)
        field, wire = tag >> 3, tag & 7
        if MODEL_PROTO_FIELDS.get(field) != wire:
            return False
        fields.add(field)
        value, used = _varint(head, used)
        position += used + (value if wire == BYTES else 0)
    return False


def _varint(data: bytes, start: int) -> tuple[int, int]:
    """The base-128 number at `start` and the position after it; 0, which is no tag, where there is none."""
    value = 0
    for offset, byte in enumerate(data[start : start + 10]):
        value |= (byte & 0x7F) << (7 * offset)
        if byte < 0x80:
            return value, start + offset + 1
    return 0, len(data)
