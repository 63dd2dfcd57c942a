"""`python -m app.worker.forkserver MODULE SOCKET`: imports MODULE's libraries once, and forks children that have them.

Importing torch takes seconds of processor time, a fork milliseconds, and what was imported is kept in memory once. The
process itself sees no model, no data and no secret: only requests of its supervisor come in, through one socket. Each
child is handed over to the supervisor (its subreaper), so that the supervisor waits for it, and the kernel kills it
with the supervisor, whatever becomes of this process.
"""

from __future__ import annotations

import array
import gc
import importlib
import importlib.util
import json
import os
import runpy
import socket
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from ..contract.plain import Json

MAX_REQUEST = 2**18
NAME = "lipserve-child"
"""As `ps -o comm` shows children; their command line is this process's."""
STREAMS = 3
"""Standard input, output and error of the child come with the request."""


def main() -> None:
    """Serve requests until the supervisor closes the socket; returns in children that end."""
    module, number = sys.argv[1:]
    requests = socket.socket(fileno=int(number))
    preload(module)
    while True:
        data, streams, _, _ = socket.recv_fds(requests, MAX_REQUEST, STREAMS)
        if not data:
            os._exit(0)
        pid = fork_for_parent()
        if not pid:
            requests.close()
            _run(module, json.loads(data), streams)
        for stream in streams:
            os.close(stream)
        requests.sendall(str(pid).encode())


def preload(module: str) -> None:
    """Import what the module's package lists in its `preload`, if it has one; none of it is looked at again."""
    spec = importlib.util.find_spec(module)
    if spec is not None and spec.submodule_search_locations and importlib.util.find_spec(f"{module}.preload"):
        importlib.import_module(f"{module}.preload")
    gc.collect()
    gc.freeze()  # else the children's collections would write to every page that they share


def fork_for_parent() -> int:
    """Fork a process whose parent is this one's nearest subreaper: its id; 0 in the new process."""
    reader, writer = os.pipe()
    between = os.fork()
    if not between:
        between = os.getpid()
        if child := os.fork():
            os.write(writer, str(child).encode())
            os._exit(0)
        os.close(reader)
        os.close(writer)
        while os.getppid() == between:
            time.sleep(0.0002)
        return 0
    os.close(writer)
    os.waitpid(between, 0)
    with os.fdopen(reader) as pipe:
        return int(pipe.read())


def _run(module: str, request: Json, streams: array.array[int] | list[int]) -> NoReturn:
    """Be `python -m MODULE ARGUMENTS` with this environment; ends the process without Python's long farewell."""
    code = 1
    try:
        for target, stream in enumerate(streams):
            os.dup2(stream, target)
        for stream in streams:
            os.close(stream)
        os.setsid()
        with suppress(OSError):
            Path("/proc/self/comm").write_text(NAME)
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.argv = [module, *request["arguments"]]
        runpy.run_module(module, run_name="__main__")
        code = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
