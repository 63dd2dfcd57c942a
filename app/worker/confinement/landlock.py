"""Landlock: this process and all its later threads see only the files that they are given. Needs no privilege.

Threads that exist already stay free, so it comes before anything is computed.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable
from enum import IntFlag

from .kernel import PR_SET_NO_NEW_PRIVS, prctl, syscall

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
VERSION_ASKED = 1
PATH_BENEATH = 1

NETWORK_SINCE = 4
SCOPES_SINCE = 6


class Access(IntFlag):
    """What can be done with a file; the kernel's numbers."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


READ = Access.READ_FILE | Access.READ_DIR
DEVICE = READ | Access.WRITE_FILE | Access.IOCTL_DEV
ON_FILES = Access.EXECUTE | Access.WRITE_FILE | Access.READ_FILE | Access.TRUNCATE | Access.IOCTL_DEV
TCP_BIND_AND_CONNECT = 0b11
ABSTRACT_SOCKETS_AND_SIGNALS = 0b11


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """The version of Landlock that the kernel offers; OSError where it offers none."""
    return syscall("landlock_create_ruleset", CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(VERSION_ASKED))


def restrict(readable: Iterable[str], devices: Iterable[str] = ()) -> int:
    """Leave only reading below `readable` and any use of `devices`; no TCP, no signals and no abstract sockets to
    others where the kernel knows how. Returns Landlock's version; OSError where there is none.
    """
    offered = version()
    handled = _handled(offered)
    attributes = _Ruleset(
        handled,
        TCP_BIND_AND_CONNECT if offered >= NETWORK_SINCE else 0,
        ABSTRACT_SOCKETS_AND_SIGNALS if offered >= SCOPES_SINCE else 0,
    )
    size = ctypes.c_size_t(_size(offered))
    ruleset = syscall("landlock_create_ruleset", CREATE_RULESET, ctypes.byref(attributes), size, ctypes.c_uint32(0))
    try:
        for path in readable:
            _allow(ruleset, path, READ & handled)
        for path in devices:
            _allow(ruleset, path, DEVICE & handled)
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        syscall("landlock_restrict_self", RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)
    return offered


def _handled(offered: int) -> Access:
    """Everything that this version can forbid."""
    later = {Access.REFER: 2, Access.TRUNCATE: 3, Access.IOCTL_DEV: 5}
    handled = Access(0)
    for access in Access:
        if offered >= later.get(access, 1):
            handled |= access
    return handled


def _size(offered: int) -> int:
    """How much of the structure this version knows."""
    words = 3 if offered >= SCOPES_SINCE else 2 if offered >= NETWORK_SINCE else 1
    return 8 * words


def _allow(ruleset: int, path: str, allowed: int) -> None:
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there, or not for us, needs no rule
    try:
        if not stat.S_ISDIR(os.fstat(parent).st_mode):
            allowed &= ON_FILES
        rule = _PathBeneath(allowed, parent)
        arguments = (ctypes.c_int(ruleset), ctypes.c_int(PATH_BENEATH), ctypes.byref(rule), ctypes.c_uint32(0))
        syscall("landlock_add_rule", ADD_RULE, *arguments)
    finally:
        os.close(parent)
