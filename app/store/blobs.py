"""Uploaded files under their SHA-256. A file is staged first, and appears under its name whole or never."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import uuid
from pathlib import Path

from app.errors import StorageFull, TooLarge
from app.store.locks import is_abandoned


class Staged:
    """A file on its way in: hashed and counted as it is written, locked so that a sweep leaves it."""

    def __init__(self, path: Path, key: str, max_bytes: int, reserve_bytes: int) -> None:
        self.path = path
        self.key = key
        self.size = 0
        self._max_bytes = max_bytes
        self._reserve_bytes = reserve_bytes
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
        if self.size > self._max_bytes:
            raise TooLarge(f"The file is larger than {self._max_bytes} bytes.")
        if shutil.disk_usage(self.path.parent).free < self._reserve_bytes + len(chunk):
            raise StorageFull("The disk that holds the uploads is nearly full.")
        self._hash.update(chunk)
        try:
            _write_all(self._file.fileno(), chunk)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageFull("The disk that holds the uploads is full.") from error
            raise

    def sync(self) -> None:
        """Bring the bytes to the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Drop the lock; remove the file unless it was kept under its digest."""
        self.path.unlink(missing_ok=True)
        self._file.close()


class Blobs:
    """Content-addressed files below one directory; keys are paths relative to it."""

    def __init__(self, root: Path, max_bytes: int, reserve_bytes: int) -> None:
        self._root = root.absolute()
        self.max_bytes = max_bytes
        self._reserve_bytes = reserve_bytes
        self._staging = self._root / "staging"
        self._staging.mkdir(parents=True, exist_ok=True)
        self.sweep()

    @staticmethod
    def key(sha256: str) -> str:
        """Where a file of that digest is kept."""
        return f"{sha256[:2]}/{sha256}"

    def path(self, key: str) -> Path:
        """The file behind a key."""
        return self._root / key

    def exists(self, sha256: str) -> bool:
        """Whether the file of that digest is here."""
        return self.path(self.key(sha256)).is_file()

    def stage(self) -> Staged:
        """A new empty file on the same file system; the caller closes it, kept or not."""
        name = uuid.uuid4().hex
        return Staged(self._staging / name, f"staging/{name}", self.max_bytes, self._reserve_bytes)

    def keep(self, staged: Staged) -> None:
        """Move a staged, synced file under its digest; a file that is already there stays."""
        if self.exists(staged.sha256):
            return
        target = self.path(self.key(staged.sha256))
        target.parent.mkdir(exist_ok=True)
        staged.path.rename(target)
        for directory in (target.parent, self._root):
            _sync_directory(directory)

    def remove(self, sha256: str) -> None:
        """Delete the file of that digest."""
        self.path(self.key(sha256)).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Delete staged files whose writer is gone."""
        for path in self._staging.iterdir():
            if is_abandoned(path):
                path.unlink(missing_ok=True)

    def check(self) -> None:
        """Raise OSError unless files can be written."""
        self.stage().close()


def _write_all(descriptor: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
