"""What the machine is, and whether its arithmetic is the one that the proofs count on (docs/gpu.md)."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import torch

from app.lipschitz.device import inexact_modes
from benchmarks.gpu.measure import Place, Row

PACKAGES = ("torch", "numpy", "scipy", "onnx", "onnxruntime", "onnx2torch", "torchvision", "pydantic", "pytest")
ASKED = "name,driver_version,memory.total,compute_mode,mig.mode.current,ecc.mode.current,persistence_mode"


def machine(place: Place) -> Iterator[Row]:
    """Device, driver and versions; the modes of torch that would make float64 less than it is."""
    yield {
        "case": "machine",
        "note": f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }
    yield {"case": "versions", "note": ", ".join(f"{name} {_version(name)}" for name in PACKAGES)}
    modes = inexact_modes()
    yield {"case": "torch's modes", "ok": not modes, "note": ", ".join(modes) or "float64 as it is"}
    if place.device != "cuda":
        yield {"case": "device", "note": "no GPU"}
        return
    found = torch.cuda.get_device_properties(0)
    yield {
        "case": "device",
        "note": f"{found.name}, {found.total_memory / 2**30:.0f} GiB, compute {found.major}.{found.minor}",
    }
    yield {
        "case": "CUDA",
        "note": f"{torch.version.cuda}, linear algebra by {torch.backends.cuda.preferred_linalg_library()}",
    }
    yield {"case": "nvidia-smi", "note": _nvidia_smi()}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _nvidia_smi() -> str:
    try:
        return subprocess.run(
            ["nvidia-smi", f"--query-gpu={ASKED}", "--format=csv,noheader"], capture_output=True, text=True, timeout=30
        ).stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        return type(error).__name__
