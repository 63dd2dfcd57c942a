"""The CPU cores that this process may use: its affinity, and what its control groups grant (cgroup v2 and v1)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def core_count() -> int:
    """Whole cores, at least one; `os.cpu_count` would tell those of the machine, which may be many more."""
    return min([len(os.sched_getaffinity(0)), *granted_cores()])


def granted_cores(groups: Path = GROUPS, membership: Path = MEMBERSHIP) -> list[int]:
    """The whole cores of every limit on this process's control groups and those above; none where there is none."""
    limits = [limit for group in _groups(groups, membership) for limit in (_second(group), _first(group))]
    return [max(1, int(cores)) for cores in limits if cores is not None]


def _groups(groups: Path, membership: Path) -> Iterator[Path]:
    """The directories of the process's groups: in a container its own group is often mounted at the root."""
    yield from (groups, groups / "cpu", groups / "cpu,cpuacct")
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        place = Path(path.lstrip("/"))
        for inner in (place, *place.parents):
            yield groups / controllers / inner


def _second(group: Path) -> float | None:
    """`cpu.max` of version 2: quota and period in microseconds."""
    try:
        quota, _, period = (group / "cpu.max").read_text().partition(" ")
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _first(group: Path) -> float | None:
    """Version 1 has a file for each; -1 is no limit."""
    try:
        quota, period = (int((group / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        return None if quota <= 0 else quota / period
    except (OSError, ValueError, ZeroDivisionError):
        return None
