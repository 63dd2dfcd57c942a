"""System calls that Python has no name for."""

from __future__ import annotations

import ctypes
import os

PR_SET_KEEPCAPS = 8
PR_SET_NO_NEW_PRIVS = 38

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def prctl(option: int, value: int) -> None:
    """Set an attribute of this thread; OSError when the kernel refuses."""
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise _error("prctl")


def syscall(name: str, number: int, *arguments: object) -> int:
    """A system call by its number; OSError when the kernel refuses."""
    result = int(_libc.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        raise _error(name)
    return result


def unshare(namespaces: int) -> None:
    """Leave the namespaces of the parent; OSError when the kernel refuses."""
    if _libc.unshare(ctypes.c_int(namespaces)) != 0:
        raise _error("unshare")


def mount(source: str, target: str, kind: str, flags: int) -> None:
    """Mount a file system; OSError when the kernel refuses."""
    if _libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None) != 0:
        raise _error(f"mount {target}")


def _error(name: str) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, f"{name}: {os.strerror(code)}")
