"""Where files are kept: a directory that all hosts see, or an object store. Keys are paths below either."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Protocol


class FileStore(Protocol):
    """Files under keys; OSError where the place behind it fails, FileNotFoundError where a key holds nothing."""

    def show(self, path: Path, staged: str) -> None:
        """Make the staged file at `path` readable under the key `staged`."""

    def keep(self, staged: str, key: str) -> None:
        """Have a shown file appear under `key`, whole or not at all."""

    def withdraw(self, staged: str) -> None:
        """Take a shown file back; never raises, for a sweep does it later."""

    def open(self, key: str) -> BinaryIO:
        """The file of that key, to be read; the caller closes it."""

    def exists(self, key: str) -> bool:
        """Whether there is a file of that key."""

    def remove(self, key: str) -> None:
        """Delete the file of that key, if there is one."""

    def sweep(self) -> None:
        """Delete shown files that nobody will take back."""


class DirectoryStore:
    """A directory, whose staging area is where files are staged: showing is nothing, keeping is a rename."""

    def __init__(self, root: Path, is_lasting: bool = True) -> None:
        self._root = root
        self._is_lasting = is_lasting

    def show(self, path: Path, staged: str) -> None:
        """Nothing: the file is there."""

    def keep(self, staged: str, key: str) -> None:
        """Rename, and bring the names to the disk where files are to last."""
        target = self._root / key
        target.parent.mkdir(exist_ok=True)
        (self._root / staged).rename(target)
        for directory in (target.parent, self._root) if self._is_lasting else ():
            _sync_directory(directory)

    def withdraw(self, staged: str) -> None:
        """Nothing: the staged file goes with its writer."""

    def open(self, key: str) -> BinaryIO:
        return (self._root / key).open("rb")

    def exists(self, key: str) -> bool:
        """Whether there is a file of that key."""
        return (self._root / key).is_file()

    def remove(self, key: str) -> None:
        """Delete the file of that key, if there is one."""
        (self._root / key).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Nothing: staged files show by their locks whether they are abandoned."""


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
