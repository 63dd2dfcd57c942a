"""How full a GPU is. There is none here: absence is real, presence is a stand-in for the driver's library.

The stand-in has three of NVML's functions and its error; what a real GPU answers is not tested here.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry

from app.api.job_metrics import JobMetrics
from app.jobs import gpu_memory as module
from app.jobs.gpu_memory import gpu_memory
from app.jobs.record import Kind
from app.jobs.slot_context import WorkerView
from app.jobs.states import Status
from app.settings import visible_gpus
from tests.worker.benches import GPU, Bench

METRIC = "lipserve_gpu_memory_bytes"


class StandIn:
    """Two GPUs, `0` and `GPU-8a`."""

    class NVMLError(Exception):
        """Whatever the driver refuses."""

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return self._handle(index, 0)

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> int:
        return self._handle(uuid, "GPU-8a")

    def nvmlDeviceGetMemoryInfo(self, handle: object) -> SimpleNamespace:
        return SimpleNamespace(used=3, total=10 if handle == 0 else 20)

    def _handle(self, asked: object, known: object) -> object:
        if asked != known:
            raise self.NVMLError
        return known


@pytest.fixture
def present(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_nvml", StandIn)


@pytest.mark.skipif(bool(visible_gpus()), reason="a GPU is here")
def test_without_a_driver_nothing_is_told() -> None:
    assert gpu_memory("0") == {}


def test_without_the_library_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    module._nvml.cache_clear()
    with monkeypatch.context() as missing:
        missing.setitem(sys.modules, "pynvml", None)  # what import then raises is an ImportError
        assert gpu_memory("0") == {}
    module._nvml.cache_clear()


@pytest.mark.usefixtures("present")
def test_a_gpu_is_found_by_number_and_by_name() -> None:
    assert gpu_memory("0") == {"gpu_memory_used_bytes": 3, "gpu_memory_total_bytes": 10}
    assert gpu_memory("GPU-8a") == {"gpu_memory_used_bytes": 3, "gpu_memory_total_bytes": 20}
    assert gpu_memory("7") == gpu_memory("MIG-1") == {}


@pytest.mark.usefixtures("present")
def test_only_gpu_slots_tell(tmp_path: Path) -> None:
    for device, told in ((GPU, {3, 10}), (None, set())):
        slot = Bench(tmp_path, **({} if device is None else {"device": device}))
        details = slot.slot.view().details
        assert {details[name] for name in details if name.startswith("gpu_memory")} == told
        slot.close()


def test_the_metric_is_read_from_the_table() -> None:
    def view(name: str, device: str, **details: int) -> WorkerView:
        return WorkerView(name, (Kind.ANALYZE,), device, "idle", None, 7, "full", details)

    registry = CollectorRegistry()
    workers = [view("a/0", "cuda:0", gpu_memory_used_bytes=3, gpu_memory_total_bytes=10), view("a/1", "cpu")]
    registry.register(JobMetrics(lambda: dict.fromkeys(Status, 0), lambda: workers))
    for kind, value in (("used", 3), ("total", 10)):
        assert registry.get_sample_value(METRIC, {"worker": "a/0", "device": "cuda:0", "kind": kind}) == value
        assert registry.get_sample_value(METRIC, {"worker": "a/1", "device": "cpu", "kind": kind}) is None
