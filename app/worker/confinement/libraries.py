"""What libraries do while they are imported, and a confined process may not: run programs, make files."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import tempfile

NOWHERE = "/"
"""A folder that exists and cannot be written to."""

VERSIONS = ("", *(f".{number}" for number in range(10)))


def find(name: str) -> str | None:
    """File name of the shared library, as the dynamic loader finds it; None where it finds none."""
    for version in VERSIONS:
        file = f"lib{name}.so{version}"
        try:
            ctypes.CDLL(file)
        except OSError:
            continue
        return file
    return None


def install() -> None:
    """Find libraries without the programs that `find_library` runs, and keep nothing in temporary folders."""
    ctypes.util.find_library = find
    tempfile.tempdir = NOWHERE
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = NOWHERE
