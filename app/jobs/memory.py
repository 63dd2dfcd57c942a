"""How much memory there is, and whether the kernel has run out of it. Control groups of both versions are known."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

GIB = 2**30
CGROUPS = Path("/sys/fs/cgroup")
SERVICE_BYTES = GIB
IDLE_CHILD_BYTES = GIB // 2
KEPT_SHARE = 0.1
LEAST_BYTES = GIB // 4


def job_bytes(configured: int, slots: int) -> int:
    """What one job may take: as configured, or else one slot's share of what children and service leave."""
    if configured:
        return configured
    total = total_bytes()
    left = total * (1 - KEPT_SHARE) - SERVICE_BYTES - 2 * (slots + 1) * IDLE_CHILD_BYTES
    return max(LEAST_BYTES, int(left / slots))


def total_bytes() -> int:
    """Memory of the machine, or of the control group that this process runs in."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = (_number(folder / name) for folder in _groups() for name in ("memory.max", "memory.limit_in_bytes"))
    return min([physical, *(limit for limit in limits if limit)])


def kills() -> int:
    """How many processes the kernel has ended for lack of memory, where this process can know."""
    for folder in _groups():
        for name in ("memory.events", "memory.oom_control"):
            count = _field(folder / name, "oom_kill")
            if count is not None:
                return count
    return _field(Path("/proc/vmstat"), "oom_kill") or 0


def _groups() -> Iterator[Path]:
    """The folders of this process's control groups, the innermost first."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        root = CGROUPS / controllers
        inner = root / path.lstrip("/")
        yield from (folder for folder in (inner, *inner.parents) if folder.is_relative_to(root))


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def _field(path: Path, name: str) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.split()[:1] == [name]), None)
