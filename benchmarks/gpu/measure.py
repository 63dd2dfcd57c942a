"""One case on one device, in a process of its own; its rows go to the file that `GPU_ROWS` names, one JSON a line.

.venv/bin/python -m benchmarks.gpu.measure lipsdp cpu --small
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

Row = dict[str, Any]
"""`case` and `note`; `ok` where something could be wrong; `device`, `seconds`, `value` of what is timed, and how near
the devices' values must be: `within`, relative."""


@dataclass(frozen=True)
class Place:
    """What a case is told: its device, whether little work will do, and where files for other steps lie."""

    device: str
    small: bool
    folder: Path

    def pick(self, small: Any, full: Any) -> Any:
        """One of two sizes."""
        return small if self.small else full


Case = Callable[[Place], Iterator[Row]]

CASES = {
    "machine": "machine:machine",
    "certificates": "analyses:certificates",
    "check": "analyses:check",
    "service": "service:service",
    "resnet50": "analyses:resnet50",
    "lipsdp": "analyses:lipsdp",
    "cholesky": "kernels:cholesky",
    "convolutions": "kernels:convolutions",
    "ascent": "analyses:ascent",
}
PAIRED = CASES.keys() - {"machine", "check", "service"}
"""These have a step on the CPU too; where there is no GPU, that one is enough."""


def main() -> None:
    """Rows are written as they come, so that a time limit leaves those before it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=CASES)
    parser.add_argument("device", choices=("cpu", "cuda"))
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--small", action="store_true")
    given = parser.parse_args()
    from app.lipschitz.device import make_exact

    make_exact()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped at its time limit"))  # so that what it started ends too
    module, _, name = CASES[given.case].partition(":")
    case: Case = getattr(import_module(f"benchmarks.gpu.{module}"), name)
    device = _present(given.device)
    if device != given.device and given.case in PAIRED:
        return
    with Path(os.environ.get("GPU_ROWS", os.devnull)).open("a") as file:
        for row in case(Place(device, given.small, given.folder)):
            line = json.dumps(row)
            print(line)
            file.write(line + "\n")
            file.flush()


def _present(device: str) -> str:
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        print("there is no CUDA device: on the CPU")
        return "cpu"
    return device


if __name__ == "__main__":
    main()
