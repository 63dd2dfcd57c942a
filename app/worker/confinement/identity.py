"""From root to a user that owns nothing. Where there is no root there is nothing to do.

Python and torch may lie where that user cannot go, such as root's own home. Then one capability stays, the right to
read and search whatever the permission bits say, and Landlock, already in force, bounds it to the readable files.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable

from ..parent import die_with_parent
from .kernel import PR_SET_KEEPCAPS, prctl, syscall
from .policy import Policy

CAPSET = {"x86_64": 126, "aarch64": 91}
CAPABILITY_VERSION = 0x20080522
READ_AND_SEARCH = 1 << 2


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


def is_root() -> bool:
    """Whether any of the user ids is root's."""
    return 0 in os.getresuid()


def drop(policy: Policy, needed: Iterable[str]) -> None:
    """Become the policy's user for good, still able to read `needed`; OSError or RuntimeError where that fails."""
    prctl(PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(policy.group, policy.group, policy.group)
    os.setresuid(policy.user, policy.user, policy.user)
    prctl(PR_SET_KEEPCAPS, 0)
    keep_capabilities(0 if all(map(_can_read, needed)) else READ_AND_SEARCH)
    _verify()
    die_with_parent()  # a change of user clears the tie


def _can_read(path: str) -> bool:
    try:
        with open(path, "rb"):
            return True
    except PermissionError:
        return False


def keep_capabilities(capabilities: int) -> None:
    """Give up every capability but these."""
    header = _Header(CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)(capabilities, capabilities, 0, 0, 0, 0)
    syscall("capset", CAPSET[os.uname().machine], ctypes.byref(header), sets)


def _verify() -> None:
    try:
        os.setresuid(0, 0, 0)
    except PermissionError:
        return
    raise RuntimeError("root came back")
