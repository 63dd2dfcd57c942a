"""Uploaded files under their SHA-256. A file is staged first, and appears under its name whole or never."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import BinaryIO

from fsspec.core import split_protocol

from ..errors import StorageUnavailable
from ..settings import Settings
from .bucket import Bucket
from .file_stores import DirectoryStore, FileStore
from .locks import is_abandoned
from .staging import STAGING, Staged

__all__ = ["Blobs", "Staged", "open_blobs"]


class Blobs:
    """Content-addressed files. They are staged below the local directory `root`, and kept there or on a `store`.

    Files that need not be `is_lasting` can be made again, and spare the disk the effort.
    """

    def __init__(
        self, root: Path, max_bytes: int, reserve_bytes: int, store: FileStore | None = None, is_lasting: bool = True
    ) -> None:
        self._root = root.absolute()
        self.max_bytes = max_bytes
        self._reserve_bytes = reserve_bytes
        self._is_lasting = is_lasting
        self._store = store or DirectoryStore(self._root, is_lasting)
        self._staging = self._root / STAGING
        self._staging.mkdir(parents=True, exist_ok=True)
        self.sweep()

    @staticmethod
    def key(sha256: str) -> str:
        """Where a file of that digest is kept."""
        return f"{sha256[:2]}/{sha256}"

    def open(self, key: str) -> BinaryIO:
        """The file behind a key, to be read from the start; FileNotFoundError, or OSError where the store fails."""
        return self._store.open(key)

    def exists(self, sha256: str) -> bool:
        """Whether the file of that digest is here."""
        return self._store.exists(self.key(sha256))

    def stage(self) -> Staged:
        """A new empty local file; the caller closes it, kept or not."""
        path = self._staging / uuid.uuid4().hex
        caps = (self.max_bytes, self._reserve_bytes)
        return Staged(path, caps, self._store.show, self._store.withdraw, self._is_lasting)

    def keep(self, staged: Staged) -> None:
        """Have a staged, synced file appear under its digest; a file that is already there stays."""
        if not self.exists(staged.sha256):
            self._store.keep(staged.key, self.key(staged.sha256))

    def remove(self, sha256: str) -> None:
        """Delete the file of that digest."""
        self._store.remove(self.key(sha256))

    def sweep(self) -> None:
        """Delete staged files whose writer is gone."""
        for path in self._staging.iterdir():
            if is_abandoned(path):
                path.unlink(missing_ok=True)
        self._store.sweep()

    def check(self) -> None:
        """Raise OSError unless files can be staged and shown."""
        staged = self.stage()
        try:
            staged.sync()
        except StorageUnavailable as error:
            raise OSError(error.detail) from error
        finally:
            staged.close()


def open_blobs(settings: Settings, name: str, max_bytes: int, is_lasting: bool = True) -> Blobs:
    """The files of that name: in the data directory, or where the setting `blob_url` says."""
    protocol, path = split_protocol(settings.blob_url)
    if protocol in (None, "file"):
        folder = Path(path or settings.data_dir) / name
        return Blobs(folder, max_bytes, settings.disk_reserve_bytes, is_lasting=is_lasting)
    root = settings.data_dir.absolute() / name
    bucket = Bucket(f"{settings.blob_url.rstrip('/')}/{name}", settings.blob_options)
    return Blobs(root, max_bytes, settings.disk_reserve_bytes, bucket, is_lasting)
