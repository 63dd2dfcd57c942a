"""Files locked for as long as a process lives: the kernel drops the lock however the process ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class Held:
    """An exclusive lock on a file that this process created."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def release(self) -> None:
        """Remove the file and drop the lock."""
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)


def is_abandoned(path: Path) -> bool:
    """Whether the file exists here and no living process holds it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
