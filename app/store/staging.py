"""A model on its way in: on the local disk, hashed and capped, whatever store it will be kept in."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from ..errors import StorageFull
from ..lipschitz.bundle import Member, identity, trailer
from ..refusals import TooLarge

STAGING = "staging"


class Staged:
    """Hashed and counted as it is written, locked so that a sweep leaves it.

    Several files are written one after the other, each with `end_file` after it; `seal` makes a bundle of them.
    """

    def __init__(
        self,
        path: Path,
        caps: tuple[int, int],
        on_sync: Callable[[Path, str], None],
        on_close: Callable[[str], None],
        is_lasting: bool = True,
    ) -> None:
        self.path = path
        self.key = f"{STAGING}/{path.name}"
        self.size = 0
        self.files: list[Member] = []
        self.max_bytes, self._reserve_bytes = caps
        self._on_sync = on_sync
        self._on_close = on_close
        self._is_lasting = is_lasting
        self._is_shown = False
        self._hash = hashlib.sha256()
        self._identity = ""
        self._file = path.open("xb", buffering=0)
        fcntl.flock(self._file, fcntl.LOCK_EX)

    @property
    def sha256(self) -> str:
        """What names it, in hexadecimal: of a bundle its identity, else the digest of what was written so far."""
        return self._identity or self._hash.hexdigest()

    @property
    def content_bytes(self) -> int:
        """The size of its files."""
        return sum(file.size_bytes for file in self.files) or self.size

    def write(self, chunk: bytes) -> None:
        """Append; TooLarge beyond the cap, StorageFull where the disk has no room."""
        self.size += len(chunk)
        if self.size > self.max_bytes:
            raise TooLarge(f"The file is larger than {self.max_bytes} bytes.")
        if shutil.disk_usage(self.path.parent).free < self._reserve_bytes + len(chunk):
            raise StorageFull("The disk that holds the uploads is nearly full.")
        self._hash.update(chunk)
        try:
            _write_all(self._file.fileno(), chunk)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageFull("The disk that holds the uploads is full.") from error
            raise

    def end_file(self, name: str) -> None:
        """What was written since the last end is a file of that name."""
        before = sum(file.size_bytes for file in self.files)
        self.files.append(Member(name, self._hash.hexdigest(), self.size - before))
        self._hash = hashlib.sha256()

    def seal(self, model: str, files: list[Member]) -> None:
        """Make a bundle of what was written, with `files` for the names it was written under; `model` is one."""
        self.files = files
        _write_all(self._file.fileno(), trailer(model, files))
        self._identity = identity(files)

    def sync(self) -> None:
        """Bring the bytes to where they last, if they are to, and where every worker can read them under `key`."""
        if self._is_lasting:
            os.fsync(self._file.fileno())
        self._is_shown = True
        self._on_sync(self.path, self.key)

    def close(self) -> None:
        """Drop the lock; remove the file unless it was kept under its digest."""
        if self._is_shown:
            self._on_close(self.key)
        self.path.unlink(missing_ok=True)
        self._file.close()


def _write_all(descriptor: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]
