"""How full a GPU's memory is, as the driver's management library (NVML) tells it: no context, no torch."""

from __future__ import annotations

from functools import cache
from typing import Any


def gpu_memory(gpu: str) -> dict[str, int]:
    """Bytes in use, by whatever process, and bytes in all; empty where there is no driver, or it does not tell.

    `gpu` is a UUID or a number as in CUDA_VISIBLE_DEVICES. NVML numbers by PCI bus, CUDA the fastest first: the two
    agree where all GPUs are of one kind.
    """
    nvml = _nvml()
    if nvml is None:
        return {}
    try:
        numbered = gpu.isdecimal()
        handle = nvml.nvmlDeviceGetHandleByIndex(int(gpu)) if numbered else nvml.nvmlDeviceGetHandleByUUID(gpu)
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    except nvml.NVMLError:
        return {}
    return {"gpu_memory_used_bytes": memory.used, "gpu_memory_total_bytes": memory.total}


@cache
def _nvml() -> Any:
    """The library, ready; None where it or the driver is missing."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml
