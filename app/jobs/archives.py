"""What a zip or tar archive of a folder holds: names, sizes and bytes of plain files, and nothing else.

A gzip file is the tar archive that it holds, or one file; it is unpacked piece by piece, three times, and never kept.
Links, devices, sparse and encrypted entries are refused. Of a tar archive the headers are read one by one, and never
more than `MAX_READ` bytes of one; files are read from where their headers say that they lie.
"""

from __future__ import annotations

import gzip
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import IO, BinaryIO, cast

from ..lipschitz.bundle import MAX_FILES
from ..lipschitz.errors import InvalidModel, TooLarge
from ..lipschitz.foreign import GZIP
from ..lipschitz.formats import ARCHIVE, open_zip, program_format

CHUNK = 2**20
MAX_READ = 2**20
TAR_MARK = b"ustar"
TAR_MARK_AT = 257
HEAD = TAR_MARK_AT + len(TAR_MARK)
INSIDE = "model.onnx"
"""The name of what a gzip file holds that is no archive; what it is, its bytes say."""
ENCRYPTED = 1
DAMAGED = (zipfile.BadZipFile, zlib.error, tarfile.TarError, struct.error, NotImplementedError, RuntimeError,
           ValueError, LookupError, EOFError, OverflowError, RecursionError)  # fmt: skip
"""What the standard library's readers raise of archives that no program wrote."""


@dataclass(frozen=True)
class Entry:
    """A file in an archive; `read` gives its bytes in pieces, InvalidModel where they are damaged."""

    name: str
    size: int
    read: Callable[[], Iterator[bytes]]


def entries(file: BinaryIO, max_unpacked: int) -> list[Entry] | None:
    """The files of an archive of a folder, at most one more than a bundle may have; None where it is none.

    Archives that are a model or another known kind of file themselves are none. InvalidModel or TooLarge.
    """
    file.seek(0)
    head = file.read(HEAD)
    if head.startswith(ARCHIVE):
        return _of_zip(file, max_unpacked)
    if head.startswith(GZIP):
        return _of_gzip(file, max_unpacked)
    return _of_tar(file, file.seek(0, 2), max_unpacked) if head[TAR_MARK_AT:] == TAR_MARK else None


def _of_gzip(file: BinaryIO, max_unpacked: int) -> list[Entry]:
    file.seek(0)
    unpacked = cast("BinaryIO", gzip.GzipFile(fileobj=file, mode="rb"))
    try:
        head, size = unpacked.read(HEAD), 0
        unpacked.seek(0)
        while chunk := unpacked.read(CHUNK):
            size += len(chunk)
            if size > max_unpacked:
                raise TooLarge(f"The archive unpacks to more than {max_unpacked} bytes.")
    except (*DAMAGED, OSError) as error:
        raise InvalidModel(f"The gzip file is damaged: {error}") from error
    if head[TAR_MARK_AT:] == TAR_MARK:
        return _of_tar(unpacked, size, max_unpacked)
    return [Entry(INSIDE, size, partial(_part, unpacked, 0, size))]


def _of_zip(file: IO[bytes], max_unpacked: int) -> list[Entry] | None:
    archive = open_zip(file, max_unpacked, InvalidModel)
    infos = [info for info in archive.infolist() if not info.is_dir()]
    names = [info.filename for info in infos]
    if program_format(names) or not any(name.endswith((".onnx", ".pt2", ".pt", ".pth", ".ts")) for name in names):
        return None
    for info in infos:
        _check_zipped(info)
    return [Entry(info.filename, info.file_size, partial(_unzipped, archive, info)) for info in infos]


def _check_zipped(info: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise InvalidModel(f"The entry {info.filename!r} of the archive is no plain file.")
    if info.flag_bits & ENCRYPTED:
        raise InvalidModel(f"The entry {info.filename!r} of the archive is encrypted.")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InvalidModel(f"The entry {info.filename!r} of the archive is neither stored nor deflated.")


def _unzipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    try:
        with archive.open(info) as entry:
            while chunk := entry.read(CHUNK):
                yield chunk
    except (*DAMAGED, OSError) as error:
        raise InvalidModel(f"The entry {info.filename!r} of the archive is damaged: {error}") from error


class _Headers:
    """A tar archive's file, of which no header may ask for much at once."""

    def __init__(self, file: IO[bytes]) -> None:
        self.seek, self.tell, self._read = file.seek, file.tell, file.read

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_READ:
            raise tarfile.ReadError(f"a header takes more than {MAX_READ} bytes")
        return self._read(size)


def _of_tar(file: BinaryIO, whole: int, max_unpacked: int) -> list[Entry]:
    file.seek(0)
    members, left = list[Entry](), max_unpacked
    for member in _members(file):
        if member.isdir():
            continue
        if not member.isreg() or member.issparse():
            raise InvalidModel(f"The entry {member.name!r} of the archive is no plain file.")
        left -= member.size
        if left < 0:
            raise TooLarge(f"The archive unpacks to more than {max_unpacked} bytes.")
        if member.size < 0 or member.offset_data + member.size > whole:
            raise InvalidModel(f"The archive ends before its entry {member.name!r} does.")
        members.append(Entry(member.name, member.size, partial(_part, file, member.offset_data, member.size)))
        if len(members) > MAX_FILES:
            break
    return members


def _members(file: IO[bytes]) -> Iterator[tarfile.TarInfo]:
    try:
        with tarfile.open(fileobj=_Headers(file), mode="r:") as archive:  # type: ignore[call-overload]
            for count, member in enumerate(archive):
                if count > 2 * MAX_FILES:
                    raise InvalidModel(f"The archive holds more than {2 * MAX_FILES} entries.")
                yield member
    except (*DAMAGED, OSError) as error:
        raise InvalidModel(f"The tar archive is damaged: {error}") from error


def _part(file: IO[bytes], start: int, size: int) -> Iterator[bytes]:
    for position in range(start, start + size, CHUNK):
        file.seek(position)
        yield file.read(min(CHUNK, start + size - position))
