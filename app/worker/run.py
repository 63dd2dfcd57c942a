"""The numerical library behind the pipe. Torch is imported here, in the child process and nowhere else."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from app.lipschitz.analysis import analyze
from app.lipschitz.ingest import inspect
from app.worker import warmup
from app.worker.loop import Progress

CPU_ALLOCATION_FAILED = "can't allocate memory"


class LipschitzLibrary:
    """Reads the file that it is told of, and hands its bytes to the library."""

    def describe(self) -> dict[str, str]:
        """Warm up; the device and the version of torch."""
        model = warmup.tiny_model()
        inspect(model)
        analyze(model, warmup.REQUEST, lambda _progress: None)
        return {"device": "cuda" if torch.cuda.is_available() else "cpu", "torch": torch.__version__}

    def inspect(self, path: str) -> dict[str, Any]:
        """The model's inspection as JSON."""
        return asdict(inspect(Path(path).read_bytes()))

    def analyze(self, path: str, request: dict[str, object], progress: Progress, dataset: str | None) -> dict[str, Any]:
        """The contract's result, the witness and the certificate; torch's allocation failures become MemoryError."""
        try:
            rows = None if dataset is None else Path(dataset).read_bytes()
            return analyze(Path(path).read_bytes(), request, progress, rows)
        except torch.OutOfMemoryError as error:
            raise MemoryError(str(error)) from error
        except RuntimeError as error:
            if CPU_ALLOCATION_FAILED in str(error):
                raise MemoryError(str(error)) from error
            raise
