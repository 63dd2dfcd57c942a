"""`lipserve` for tests, forked from a process that has imported it: importing takes longer than most tests of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

from app.jobs.forkserver import ForkServer, Process

START_S = 120.0
SERVER = ForkServer("tests.preloaded", {"PATH": os.environ["PATH"]}, START_S)
"""Started by the first process that is wanted, ended with the tests."""


def environment_of(settings: Mapping[str, object]) -> dict[str, str]:
    """This process's environment with these settings and no others."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LIPSERVE_")}
    return clean | {f"LIPSERVE_{name.upper()}": str(value) for name, value in settings.items()}


class Preloaded:
    """`python -m app COMMAND` with these settings, in a process group of its own; what it says is added to `log`."""

    def __init__(self, command: str, log: Path, settings: Mapping[str, object]) -> None:
        arguments = (str(log), command)
        self._process: Process = SERVER.fork(arguments, environment_of(settings), lambda: False)

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_over(self) -> bool:
        return self._process.poll() is not None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it is over."""
        if not self.is_over():
            os.kill(self.pid, number)

    def wait(self, within_s: float) -> int:
        """Its exit status."""
        return self._process.wait(within_s)

    def kill(self) -> None:
        """What a power cut does to it and to its children."""
        self._process.kill()
