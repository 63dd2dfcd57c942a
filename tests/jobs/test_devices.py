"""Slots from settings and from what the machine shows, without torch."""

import pytest

from app.jobs.devices import slot_devices, spare_device
from app.settings import Settings, core_count, inherited_environment


def devices(names: str, gpus: str, monkeypatch: pytest.MonkeyPatch, threads: int = 0) -> list[tuple[str, ...]]:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    settings = Settings(devices=names, worker_threads=threads)
    return [
        (device.name, device.environment["CUDA_VISIBLE_DEVICES"], device.environment["OMP_NUM_THREADS"])
        for device in slot_devices(settings)
    ]


def test_every_gpu_has_a_slot_else_the_cpu_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = core_count()
    half = str(max(1, cores // 2))
    assert devices("auto", "", monkeypatch) == [("cpu", "", str(cores))]
    assert devices("auto", "3,GPU-8a", monkeypatch) == [("cuda:0", "3", half), ("cuda:1", "GPU-8a", half)]


def test_slots_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices("cuda:1, cpu", "3,5", monkeypatch, 4) == [("cuda:1", "5", "4"), ("cpu", "", "4")]


@pytest.mark.parametrize("name", ["cuda:1", "cuda", "tpu", ""])
def test_a_device_that_is_not_there_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="there are cpu and 1 GPUs"):
        devices(name, "0", monkeypatch)


def test_a_child_sees_little_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIPSERVE_DATABASE_URL", "postgresql://user:password@host/db")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert set(inherited_environment()) <= {"PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "TMPDIR"}
    assert "password" not in str(spare_device().environment)
