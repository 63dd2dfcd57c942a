"""A file on its way in: on the local disk, hashed and capped, whatever store it will be kept in."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from app.errors import StorageFull, TooLarge

STAGING = "staging"


class Staged:
    """Hashed and counted as it is written, locked so that a sweep leaves it."""

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
        self.max_bytes, self._reserve_bytes = caps
        self._on_sync = on_sync
        self._on_close = on_close
        self._is_lasting = is_lasting
        self._is_shown = False
        self._hash = hashlib.sha256()
        self._file = path.open("xb", buffering=0)
        fcntl.flock(self._file, fcntl.LOCK_EX)

    @property
    def sha256(self) -> str:
        """Digest of what was written so far, in hexadecimal."""
        return self._hash.hexdigest()

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

    def capped(self, max_bytes: int) -> Callable[[bytes], None]:
        """`write` with a cap that is smaller than the file's own."""
        self.max_bytes = min(self.max_bytes, max_bytes)
        return self.write

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
