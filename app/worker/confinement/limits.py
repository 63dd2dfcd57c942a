"""Resource limits. RLIMIT_DATA bounds memory that is written; RLIMIT_AS what that does not count, such as page tables.

On a GPU there is no RLIMIT_AS: CUDA reserves address space that it never uses.
"""

from __future__ import annotations

import resource
from contextlib import suppress
from pathlib import Path

from .policy import Policy

OUT_OF_MEMORY_FIRST = "1000"
STACK_BYTES = 64 * 2**20
RESERVED_BYTES = 16 * 2**30
"""Address space that is reserved and never touched: arenas of the C library, libraries that are loaded late. If all of
it were mapped page by page, its page tables would take a 512th of it, 32 MiB.
"""


def limit(policy: Policy) -> None:
    """No files, no core dumps, few descriptors; the kernel's first choice when memory runs out."""
    with suppress(OSError):  # some containers make it read-only
        Path("/proc/self/oom_score_adj").write_text(OUT_OF_MEMORY_FIRST)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, policy.max_open_files)
    _lower(resource.RLIMIT_STACK, STACK_BYTES)
    if not policy.gpu:
        _lower(resource.RLIMIT_FSIZE, 0)


def limit_memory(policy: Policy) -> None:
    """From here on at most `memory_bytes` more than now: what torch itself needs grows with the number of cores."""
    if not policy.memory_bytes:
        return
    _lower(resource.RLIMIT_DATA, _status("VmData") + policy.memory_bytes)
    if not policy.gpu:
        _lower(resource.RLIMIT_AS, _status("VmSize") + policy.memory_bytes + RESERVED_BYTES)


def limit_processes(policy: Policy) -> None:
    """The kernel counts the user's threads, so this is for a user that runs nothing but children."""
    _lower(resource.RLIMIT_NPROC, policy.max_processes)


def _status(field: str) -> int:
    """Bytes in a field of this process's status; `VmData` is private writable memory, touched or not."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    return 0


def _lower(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))
