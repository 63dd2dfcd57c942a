"""The devices of this machine, as environments for child processes; told without importing torch."""

from __future__ import annotations

from dataclasses import dataclass

from ..settings import Settings, inherited_environment, visible_gpus
from .cores import core_count

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")

ALONE = {"OPENBLAS_NUM_THREADS": "1"}
"""numpy's and scipy's. Its threads spin for milliseconds after every product and know no patience: a small job took
twice the processor time. What is large is multiplied by torch.
"""

NAMELESS = {"USER": "worker", "HOME": "/nonexistent"}
"""Libraries ask for these to find caches, and would look into /etc/passwd, which a child cannot read."""

PATIENCE = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "0"}
"""Threads that spin while they wait take the cores from those that they wait for, once these are shared with other
processes: tenfold slower with 16 processes on two cores, at GNU's default and at 30,000 turns alike. A thousand turns
are microseconds: enough for the short waits of a quiet machine.
"""

EXACT = {"NVIDIA_TF32_OVERRIDE": "0", "CUBLAS_EMULATE_DOUBLE_PRECISION": "0"}
"""No TF32 in place of float32, and no float64 put together from smaller types, whatever a machine's default is."""


@dataclass(frozen=True)
class Device:
    """A place for one child: `cuda:<n>` counts among the visible GPUs, `cpu` is a share of the cores."""

    name: str
    environment: dict[str, str]

    @property
    def gpu(self) -> str:
        """The GPU as CUDA_VISIBLE_DEVICES names it: a number, a UUID or a MIG name; empty on a CPU."""
        return self.environment["CUDA_VISIBLE_DEVICES"]

    @property
    def is_gpu(self) -> bool:
        """Whether the child computes on a GPU."""
        return self.name.startswith("cuda")


def slot_devices(settings: Settings) -> list[Device]:
    """One device a slot, by the setting `devices`."""
    gpus = visible_gpus()
    names = [name.strip() for name in settings.devices.split(",")]
    if names == ["auto"]:
        names = [f"cuda:{index}" for index in range(len(gpus))] or ["cpu"]
    threads = settings.worker_threads or max(1, core_count() // len(names))
    return [Device(name, _environment(_gpu(name, gpus), threads)) for name in names]


def spare_device() -> Device:
    """The device of the child that only inspects files."""
    return Device("cpu", _environment("", 1))


def waiting_device(settings: Settings) -> Device:
    """The device of the child that waits to replace another: a CPU slot's, where there is one."""
    return next((device for device in slot_devices(settings) if not device.is_gpu), spare_device())


def _gpu(name: str, gpus: list[str]) -> str:
    kind, _, index = name.partition(":")
    if kind == "cpu":
        return ""
    if kind != "cuda" or not index.isdecimal() or int(index) >= len(gpus):
        raise ValueError(f"LIPSERVE_DEVICES names {name!r}; there are cpu and {len(gpus)} GPUs, cuda:0 the first")
    return gpus[int(index)]


def _environment(gpu: str, threads: int) -> dict[str, str]:
    limits = dict.fromkeys(THREAD_VARIABLES, str(threads))
    gpus = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": gpu}  # numbered as the driver and NVML do
    return inherited_environment() | NAMELESS | limits | ALONE | PATIENCE | EXACT | gpus
