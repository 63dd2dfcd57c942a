"""What the service keeps is for its own user: models, results, the digests of keys, the secret of webhooks."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import make_url

from ..settings import Settings

logger = logging.getLogger(__name__)

UMASK = 0o077
OTHERS = 0o077
"""The permissions of everybody but the owner."""
DIRECTORY = 0o700


def keep_private(settings: Settings) -> None:
    """From here on this process creates files for its own user only, and what older versions left open is closed.

    Where that fails, as on a volume that belongs to somebody else, a line in the log says so.
    """
    os.umask(UMASK)
    data_dir = settings.data_dir
    data_dir.mkdir(mode=DIRECTORY, parents=True, exist_ok=True)
    was_open = bool(data_dir.stat().st_mode & OTHERS)
    paths = [data_dir, *_database_files(settings), *(_below(data_dir) if was_open else ())]
    closed = [path for path in paths if _close(path)]
    if closed:
        logger.warning("%d files and folders, %s first, were open to other users; now they are not",
                       len(closed), closed[0])  # fmt: skip


def _database_files(settings: Settings) -> Iterator[Path]:
    url = make_url(settings.sqlalchemy_url())
    if url.get_backend_name() == "sqlite" and url.database:
        yield from (path for end in ("", "-wal", "-shm", "-journal") if (path := Path(url.database + end)).exists())


def _below(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent) / name for name in (*folders, *files))


def _close(path: Path) -> bool:
    """Take the permissions of others away; whether there were any. Links are left alone."""
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode) or not mode & OTHERS:
            return False
        path.chmod(stat.S_IMODE(mode) & ~OTHERS)
    except FileNotFoundError:  # staged files come and go
        return False
    except OSError as error:
        logger.warning("%s stays open to other users: %s", path, error.strerror)
        return False
    return True
