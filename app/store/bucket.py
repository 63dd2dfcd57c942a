"""Files in an object store, through fsspec: `s3://bucket/prefix`, or any other store that it has a driver for."""

from __future__ import annotations

import io
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import fsspec

from ..errors import StorageUnavailable
from .staging import STAGING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

logger = logging.getLogger(__name__)

ORPHANED_S = 86_400.0
"""A shown file is of use for as long as its inspection may take; after a day its writer is gone."""
SWEEP_S = 3_600.0
BLOCK_BYTES = 8 * 2**20
DEFAULTS: dict[str, dict[str, Any]] = {"s3": {"config_kwargs": {"connect_timeout": 5, "read_timeout": 60}}}
"""Options of drivers whose own defaults wait for minutes."""


class Bucket:
    """A store of objects, each whole or not there. Raises StorageUnavailable."""

    def __init__(self, url: str, options: dict[str, Any], orphaned_s: float = ORPHANED_S) -> None:
        defaults = DEFAULTS.get(url.partition(":")[0], {})
        # Other hosts write too, so no listing may be remembered.
        self._files, root = fsspec.url_to_fs(url, **{"use_listings_cache": False} | defaults | options)
        self._root = str(root).rstrip("/")
        self._orphaned_s = orphaned_s
        self._swept_at = time.monotonic()

    def show(self, path: Path, staged: str) -> None:
        """Upload; now and then also delete what earlier uploads left behind."""
        if time.monotonic() > self._swept_at + SWEEP_S:
            self.sweep()
        with _failing_as(StorageUnavailable):
            self._files.put_file(str(path), self._at(staged))

    def keep(self, staged: str, key: str) -> None:
        """Copy inside the store, which takes no second upload."""
        with _failing_as(StorageUnavailable):
            self._files.cp_file(self._at(staged), self._at(key))

    def withdraw(self, staged: str) -> None:
        """Delete the uploaded file."""
        try:
            self.remove(staged)
        except StorageUnavailable as error:
            logger.warning("%s stays in the store until a sweep: %s", staged, error.detail)

    def open(self, key: str) -> BinaryIO:
        """The object, fetched a block at a time as it is read."""
        with _failing_as(OSError):
            source = self._files.open(self._at(key), "rb", cache_type="none")
        return cast(BinaryIO, io.BufferedReader(_Stream(source), BLOCK_BYTES))

    def exists(self, key: str) -> bool:
        """Whether there is an object of that key."""
        with _failing_as(StorageUnavailable):
            return bool(self._files.exists(self._at(key)))

    def remove(self, key: str) -> None:
        """Delete the object of that key, if there is one."""
        with _failing_as(StorageUnavailable):
            try:
                self._files.rm_file(self._at(key))
            except FileNotFoundError:
                return

    def sweep(self) -> None:
        """Delete shown files older than any upload can be."""
        self._swept_at = time.monotonic()
        with _failing_as(StorageUnavailable):
            for path in self._files.find(self._at(STAGING)):
                if (datetime.now(UTC) - self._files.modified(path)).total_seconds() > self._orphaned_s:
                    self._files.rm_file(path)

    def _at(self, key: str) -> str:
        return f"{self._root}/{key}"


class _Stream(io.RawIOBase):
    """A driver's file whose failures are OSError."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        with _failing_as(OSError):
            return int(self._source.readinto(buffer))

    def readall(self) -> bytes:
        """All that is left in one request; the base class would make one for every few kilobytes."""
        with _failing_as(OSError):
            return bytes(self._source.read())

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return int(self._source.seek(offset, whence))

    def tell(self) -> int:
        return int(self._source.tell())

    def close(self) -> None:
        self._source.close()
        super().close()


@contextmanager
def _failing_as(kind: type[Exception]) -> Iterator[None]:
    """Drivers raise exceptions of their own where no connection comes about; a missing file stays one for OSError."""
    try:
        yield
    except kind:
        raise
    except Exception as error:
        raise kind(f"The file store does not answer: {type(error).__name__}: {error}") from error
