"""Resource limits. RLIMIT_DATA rather than RLIMIT_AS bounds memory: CUDA reserves address space that it never uses."""

from __future__ import annotations

import resource
from contextlib import suppress
from pathlib import Path

from app.worker.confinement.policy import Policy

OUT_OF_MEMORY_FIRST = "1000"


def limit(policy: Policy) -> None:
    """No files, no core dumps, few descriptors; the kernel's first choice when memory runs out."""
    with suppress(OSError):  # some containers make it read-only
        Path("/proc/self/oom_score_adj").write_text(OUT_OF_MEMORY_FIRST)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, policy.max_open_files)
    if not policy.gpu:
        _lower(resource.RLIMIT_FSIZE, 0)


def limit_memory(policy: Policy) -> None:
    """From here on at most `memory_bytes` more than now: what torch itself needs grows with the number of cores."""
    if policy.memory_bytes:
        _lower(resource.RLIMIT_DATA, data_bytes() + policy.memory_bytes)


def limit_processes(policy: Policy) -> None:
    """The kernel counts the user's threads, so this is for a user that runs nothing but children."""
    _lower(resource.RLIMIT_NPROC, policy.max_processes)


def data_bytes() -> int:
    """What counts towards RLIMIT_DATA: private writable memory, touched or not."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "VmData":
            return int(value.split()[0]) * 1024
    return 0


def _lower(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))
