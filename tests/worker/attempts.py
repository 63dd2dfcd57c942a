"""A child that tries system calls of its own, confined like any other: what native code could do in its place.

`{"attempt": name, "argument": value}` is answered with the errno that the attempt met, 0 where it worked.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.worker.confinement import Achieved, Policy, after_warm_up, before_warm_up
from app.worker.loop import Voice, serve
from app.worker.parent import close_inherited
from tests.jobs.fake_worker import EMPTY

LIBC = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: Any) -> None:
    if getattr(LIBC, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)


def syscall(number: int, *arguments: Any) -> None:
    call("syscall", ctypes.c_long(number), *arguments)


def fork() -> None:
    child = LIBC.fork()
    if child == 0:
        os._exit(0)
    if child < 0:
        raise OSError(ctypes.get_errno(), "fork")


def execute() -> None:
    path = b"/bin/true"
    call("execve", path, (ctypes.c_char_p * 2)(path, None), None)


def write_to(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY))


def read_from(path: str) -> None:
    os.close(os.open(path, os.O_RDONLY))


def in_a_thread(path: str) -> None:
    errors: list[OSError] = []

    def target() -> None:
        try:
            read_from(path)
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def map_uncounted() -> None:
    mmap.mmap(-1, 2**20, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS).close()


MAP_GROWSDOWN, MAP_NORESERVE = 0x0100, 0x4000
MREMAP_MAYMOVE = 1


def anonymous(size: int, protection: int, flags: int = 0) -> int:
    """The address of a private mapping."""
    LIBC.mmap.restype = ctypes.c_void_p
    arguments = (protection, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | flags, -1, ctypes.c_long(0))
    address = LIBC.mmap(None, ctypes.c_size_t(size), *arguments)
    if address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "mmap")
    return int(address)


def map_page_tables() -> None:
    """One page in 2 MiB of 64 GiB is read: 128 MiB of page tables, and not a byte that RLIMIT_DATA counts."""
    size = 2**36
    address = anonymous(size, mmap.PROT_READ, MAP_NORESERVE)
    for offset in range(0, size, 2**21):
        ctypes.string_at(address + offset, 1)
    LIBC.munmap(ctypes.c_void_p(address), ctypes.c_size_t(size))


def stretch_stack() -> None:
    """The first thread's stack made larger by 1 MiB: it counts as stack, which has no limit once it is moved."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    ranges = (line.split()[0] for line in maps if line.endswith("[stack]"))
    start, end = (int(text, 16) for text in next(ranges).split("-"))
    LIBC.mremap.restype = ctypes.c_void_p
    page = ctypes.c_size_t(4096)
    address = LIBC.mremap(ctypes.c_void_p(start), page, ctypes.c_size_t(2**20), MREMAP_MAYMOVE)
    if address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), f"mremap of {end - start}")


def call_as_i386() -> None:
    """`mov eax, 20; int 0x80; ret`: getpid by another architecture's number."""
    code = bytes.fromhex("b814000000cd80c3")
    address = anonymous(4096, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    ctypes.memmove(address, code, len(code))
    ctypes.CFUNCTYPE(ctypes.c_int)(address)()


def raise_limit() -> None:
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


ATTEMPTS = {
    "open a TCP socket": lambda _: socket.socket(socket.AF_INET).close(),
    "open a Unix socket": lambda _: socket.socket(socket.AF_UNIX).close(),
    "make a socket pair": lambda _: [end.close() for end in socket.socketpair()],
    "fork": lambda _: fork(),
    "execute": lambda _: execute(),
    "signal its parent": lambda _: os.kill(os.getppid(), 0),
    "kill every process": lambda _: os.kill(-1, signal.SIGCONT),
    "trace its parent": lambda _: call("ptrace", 16, os.getppid(), 0, 0),
    "read": read_from,
    "read in a thread": in_a_thread,
    "list": lambda path: os.listdir(path),
    "stat": lambda path: os.stat(path),
    "overwrite": write_to,
    "create": lambda path: os.close(os.open(path, os.O_CREAT | os.O_WRONLY)),
    "truncate": lambda path: os.truncate(path, 0),
    "delete": lambda path: os.unlink(path),
    "rename": lambda path: os.rename(path, path + "2"),
    "link": lambda path: os.link(path, path + "2"),
    "symlink": lambda path: os.symlink(path, path + "2"),
    "chmod": lambda path: os.chmod(path, 0o777),
    "make a folder": lambda path: os.mkdir(path + "2"),
    "unshare": lambda _: call("unshare", 0x10000000),
    "become root": lambda _: os.setresuid(0, 0, 0),
    "outlive its parent": lambda _: call("prctl", 1, 0, 0, 0, 0),
    "raise its limits": lambda _: raise_limit(),
    "map shared memory": lambda _: map_uncounted(),
    "make a memory file": lambda _: os.close(os.memfd_create("m")),
    "map memory that grows downwards": lambda _: anonymous(4096, mmap.PROT_READ | mmap.PROT_WRITE, MAP_GROWSDOWN),
    "fill page tables": lambda _: map_page_tables(),
    "stretch the stack": lambda _: stretch_stack(),
    "call by x32": lambda _: syscall(0x4000_0000 | 39),
    "call by i386": lambda _: call_as_i386(),
    "use io_uring": lambda _: syscall(425, 1, ctypes.create_string_buffer(256)),
    "watch files": lambda _: call("inotify_init1", 0),
    "start a thread": lambda _: threading.Thread(target=len, args=("",)).start(),
    "signal itself": lambda _: signal.pthread_kill(threading.get_ident(), 0),
    "import something late": lambda _: __import__("sqlite3"),
}


class AttemptingLibrary:
    def __init__(self, policy: Policy, achieved: Achieved) -> None:
        self._policy = policy
        self._achieved = achieved

    def describe(self) -> dict[str, Any]:
        self._achieved = after_warm_up(self._policy, self._achieved)
        details = self._achieved.details() | {"user": os.getuid()}
        return {"device": "cpu", "torch": "2", "confinement": self._achieved.level, "details": details}

    def answer(self, kind: str, request: dict[str, Any], files: Mapping[str, bytes], voice: Voice) -> None:
        number = 0
        try:
            ATTEMPTS[request["attempt"]](request["argument"])
        except (OSError, ImportError) as error:
            number = getattr(error, "errno", None) or -1
        voice.tell("result", EMPTY | {"errno": number})


def load() -> AttemptingLibrary:
    policy = Policy.from_json(sys.argv[1])
    achieved = before_warm_up(policy)
    import torch

    torch.ones(2) @ torch.ones(2)
    return AttemptingLibrary(policy, achieved)


if __name__ == "__main__":
    close_inherited()
    serve(load)
