"""The child's ties to its supervisor: it dies with it, and only messages go to its standard output."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from typing import BinaryIO

PR_SET_PDEATHSIG = 1
STANDARD_STREAMS = 3

SUPERVISOR = os.getppid()


def die_with_parent() -> None:
    """Have the kernel kill this process when the supervisor is gone."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != SUPERVISOR or SUPERVISOR == 1:
        sys.exit("the supervisor is gone")


def close_inherited() -> None:
    """Close every descriptor but the standard streams; call it before anything is opened."""
    os.closerange(STANDARD_STREAMS, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def take_standard_output() -> BinaryIO:
    """The pipe to the supervisor; whatever libraries print goes to standard error from now on."""
    pipe = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return pipe
