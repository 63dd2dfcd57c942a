"""What an uploaded npy or npz file holds, told from its headers: no array is read, nothing is unpickled."""

from __future__ import annotations

import ast
import math
import re
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

from ..jobs.datasets import ArrayInfo
from ..lipschitz.formats import open_zip
from ..refusals import InvalidDataset, NotADataset, TooLarge, as_problems

NPY_MAGIC = b"\x93NUMPY"
ZIP_MAGIC = b"PK\x03\x04"
LENGTH_BYTES = {b"\x01\x00": 2, b"\x02\x00": 4}
"""Bytes that the header's length takes, by version of the format."""
MAX_HEADER_BYTES = 10_000
DTYPE = re.compile("[<>=|]([fiu])([1248])")
KINDS = {"f": "FP", "i": "INT", "u": "UINT"}
AS_FLOAT64 = 8


def described(path: Path, max_bytes: int) -> tuple[ArrayInfo, ArrayInfo | None]:
    """The inputs and the labels, None without; NotADataset, InvalidDataset or TooLarge.

    `max_bytes` caps what a zip unpacks to, and the inputs as float64.
    """
    with path.open("rb") as file:
        magic = file.read(len(NPY_MAGIC))
        file.seek(0)
        if magic == NPY_MAGIC:
            inputs, labels = _array(file, path.stat().st_size, "inputs"), None
        elif magic.startswith(ZIP_MAGIC):
            inputs, labels = _archive(file, max_bytes)
        else:
            raise NotADataset("The file is neither npy nor npz: write it with numpy.save or numpy.savez.")
    _check(inputs, labels, max_bytes)
    return inputs, labels


def _archive(file: IO[bytes], max_bytes: int) -> tuple[ArrayInfo, ArrayInfo | None]:
    with as_problems():
        archive = open_zip(file, max_bytes, InvalidDataset)
    names = archive.namelist()
    if "inputs.npy" not in names:
        raise InvalidDataset("The archive holds no array `inputs`.")
    return _member(archive, "inputs"), _member(archive, "labels") if "labels.npy" in names else None


def _member(archive: zipfile.ZipFile, name: str) -> ArrayInfo:
    entry = archive.getinfo(f"{name}.npy")
    try:
        with archive.open(entry) as member:
            return _array(member, entry.file_size, name)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise InvalidDataset(f"The array `{name}` cannot be unpacked: {error}.") from error


def _array(file: IO[bytes], size: int, name: str) -> ArrayInfo:
    """The array whose `size` bytes begin here: real numbers whose count fits the size."""
    magic, version = file.read(len(NPY_MAGIC)), file.read(2)
    if magic != NPY_MAGIC or version not in LENGTH_BYTES:
        raise InvalidDataset(f"The array `{name}` is not in version 1 or 2 of the npy format.")
    length = int.from_bytes(file.read(LENGTH_BYTES[version]), "little")
    if length > MAX_HEADER_BYTES:
        raise InvalidDataset(f"The header of `{name}` is longer than {MAX_HEADER_BYTES} bytes.")
    kind, item_bytes, shape = _header(file.read(length), name)
    begin = len(magic) + len(version) + LENGTH_BYTES[version] + length
    if begin + math.prod(shape) * item_bytes != size:
        raise InvalidDataset(f"The array `{name}` is not as long as its header says.")
    return ArrayInfo(f"{KINDS[kind]}{8 * item_bytes}", shape)


def _header(text: bytes, name: str) -> tuple[str, int, tuple[int, ...]]:
    """Kind and bytes of an item, and the shape, from a Python literal."""
    try:
        fields: Any = ast.literal_eval(text.decode("latin-1").strip())
        dtype, shape = fields["descr"], fields["shape"]
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise InvalidDataset(f"The header of `{name}` cannot be read.") from error
    matched = DTYPE.fullmatch(dtype) if isinstance(dtype, str) else None
    if matched is None or matched[0][1:] == "f1":
        raise InvalidDataset(f"The array `{name}` is of type {dtype!r}: real numbers of at most 64 bits are needed.")
    if not (isinstance(shape, tuple) and all(type(size) is int and size >= 0 for size in shape)):
        raise InvalidDataset(f"The header of `{name}` gives no shape.")
    return matched[1], int(matched[2]), shape


def _check(inputs: ArrayInfo, labels: ArrayInfo | None, max_bytes: int) -> None:
    if len(inputs.shape) < 2 or math.prod(inputs.shape) == 0:
        raise InvalidDataset(f"The inputs need rows of at least one number, not the shape {list(inputs.shape)}.")
    if math.prod(inputs.shape) * AS_FLOAT64 > max_bytes:
        raise TooLarge(f"The inputs take more than {max_bytes} bytes as float64.")
    if labels is not None and (labels.shape != inputs.shape[:1] or labels.datatype.startswith("FP")):
        raise InvalidDataset(f"The labels must be {inputs.shape[0]} whole numbers, one a row of the inputs.")
