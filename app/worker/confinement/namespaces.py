"""A view of the machine in which folders of others are empty, and there is no network.

Landlock decides what may be opened, but `stat` still tells names, sizes and times of every path. In a mount namespace
of its own a process covers what it does not need. That takes root, or a kernel that lets ordinary users have user
namespaces; many containers do not. It adds to what the other layers do, so its absence is no fault.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from enum import IntFlag
from itertools import islice
from pathlib import Path

from ..parent import die_with_parent
from . import identity
from .kernel import mount, unshare


class Clone(IntFlag):
    """Namespaces; the kernel's numbers."""

    MOUNTS = 0x00020000
    IPC = 0x08000000
    USERS = 0x10000000
    NETWORK = 0x40000000


READ_ONLY, NO_SUID, NO_DEVICES, NO_PROGRAMS = 1, 2, 4, 8
RECURSIVE, SLAVE = 1 << 14, 1 << 19
COVER = READ_ONLY | NO_SUID | NO_DEVICES | NO_PROGRAMS
KEPT = frozenset({"/proc", "/sys", "/dev", "/usr", "/lib", "/lib64", "/bin", "/sbin", "/boot"})
"""What holds no file of a user; some of it is needed."""
MOST_COVERS = 256


def hide(readable: Iterable[str]) -> None:
    """Cover every folder that neither holds nor lies below one of `readable`; OSError where that is not allowed.

    Call it while the process has one thread, and before Landlock.
    """
    user, group = os.geteuid(), os.getegid()
    is_root = user == 0
    unshare(Clone.MOUNTS | Clone.IPC | Clone.NETWORK | (Clone(0) if is_root else Clone.USERS))
    try:
        if not is_root:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
            Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
        _cover({Path(path).resolve() for path in readable})
    finally:
        if not is_root:
            identity.keep_capabilities(0)  # those of the new user namespace
        die_with_parent()  # a change of capabilities clears the tie


def _cover(needed: set[Path]) -> None:
    os.chdir("/")
    mount("", "/", "", RECURSIVE | SLAVE)  # nothing goes out from here, and what others unmount is let go
    for folder in islice(_others(Path("/"), needed), MOST_COVERS):
        mount("tmpfs", str(folder), "tmpfs", COVER)


def _others(folder: Path, needed: set[Path]) -> Iterator[Path]:
    """The highest folders below this one that hold nothing needed; the links on the way stay as they are."""
    for entry in os.scandir(folder):
        path = Path(entry.path)
        if not entry.is_dir(follow_symlinks=False) or entry.path in KEPT or any(map(path.is_relative_to, needed)):
            continue
        if any(one.is_relative_to(path) for one in needed):
            yield from _others(path, needed)
        else:
            yield path
