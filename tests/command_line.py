"""`lipserve` in this process: its exit status and what it prints, without the second that a process takes."""

from __future__ import annotations

import io
import os
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import pytest

from app.cli import main


def lipserve(*arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    """One command with these settings and no others."""
    umask = os.umask(0o077)  # which a command changes that makes files
    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(io.StringIO()) as output,
        redirect_stderr(io.StringIO()) as errors,
    ):
        for name in [name for name in os.environ if name.startswith("LIPSERVE_")]:
            patch.delenv(name)
        for name, value in settings.items():
            patch.setenv(f"LIPSERVE_{name.upper()}", str(value))
        try:
            status = main(arguments)
        except SystemExit as end:
            status = int(str(end.code))
        finally:
            os.umask(umask)
    return subprocess.CompletedProcess(["lipserve", *arguments], status, output.getvalue(), errors.getvalue())
