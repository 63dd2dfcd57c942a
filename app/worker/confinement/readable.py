"""The files that Python, torch and the numerical library need, and no others."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2]

OWN = tuple(f"/proc/self/{name}" for name in ("maps", "status", "stat", "statm", "comm", "cmdline", "auxv", "cgroup"))
"""What glibc, Python and torch ask about their own process. Not among it: the machine's connections (`net`), what is
mounted where, and the environment.
"""
SYSTEM = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/dev/null",
    "/dev/zero",
    "/dev/urandom",
    "/dev/random",
    *OWN,
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/kernel/osrelease",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
)
"""Shared libraries, sources of randomness, and what the processor looks like."""

GPU_SYSTEM = (
    "/proc/self",
    "/usr/local/cuda",
    "/usr/local/nvidia",
    "/proc/driver/nvidia",
    "/proc/devices",
    "/proc/modules",
    "/sys",
    "/etc/nvidia",
)
GPU_DEVICES = ("/dev/nvidia*", "/proc/self/task")
"""CUDA names its threads through /proc."""


def paths(gpu: bool) -> list[str]:
    """What may be read; the service's own data is not among it."""
    interpreter = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    imports = {entry for entry in sys.path if os.path.isabs(entry) and Path(entry) != PACKAGE.parent}
    libraries = {entry for entry in os.environ.get("LD_LIBRARY_PATH", "").split(":") if os.path.isabs(entry)}
    return [*sorted({str(PACKAGE)} | interpreter | imports | libraries), *SYSTEM, *(GPU_SYSTEM if gpu else ())]


def devices(gpu: bool) -> list[str]:
    """What may be opened for writing too."""
    return ["/dev/null", *(path for pattern in GPU_DEVICES for path in glob.glob(pattern))] if gpu else ["/dev/null"]


def exposed(hidden: Iterable[str], readable: Iterable[str]) -> list[str]:
    """Those of `hidden` that lie below one of `readable`, which no rule could take back."""
    roots = [Path(path).resolve() for path in readable]
    return [path for path in hidden if any(Path(path).resolve().is_relative_to(root) for root in roots)]
