"""Slots from settings and from what the machine shows, without torch."""

from pathlib import Path

import pytest

from app.jobs.child_factory import ChildFactory
from app.jobs.cores import core_count, granted_cores
from app.jobs.devices import slot_devices, spare_device
from app.settings import Settings, inherited_environment, visible_gpus


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


def test_numpy_has_one_thread_since_its_threads_spin_after_every_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "8")
    slot = slot_devices(Settings(devices="cpu", worker_threads=4))[0]
    assert slot.environment["OMP_NUM_THREADS"] == slot.environment["MKL_NUM_THREADS"] == "4"
    assert slot.environment["OPENBLAS_NUM_THREADS"] == "1"


MIG = "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f"


@pytest.mark.parametrize(
    ("variable", "gpus"),
    [
        ("", []), ("-1", []), ("NoDevFiles", []), ("0,-1,1", ["0"]), (" 3 , GPU-8a", ["3", "GPU-8a"]), ("0,,1", ["0"]),
        (f"{MIG},MIG-GPU-8a/1/0", [MIG, "MIG-GPU-8a/1/0"]),
    ],
)  # fmt: skip
def test_the_variable_is_read_as_cuda_reads_it(variable: str, gpus: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert visible_gpus() == gpus
    assert [device.gpu for device in slot_devices(Settings(devices="auto"))] == (gpus or [""])


def test_without_the_variable_gpus_are_numbered_from_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver's minor number is no ordinal of CUDA's: a container may have been given the fourth alone."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name in ("nvidia3", "nvidiactl", "nvidia-uvm", "nvidia11"):
        (tmp_path / name).touch()
    assert visible_gpus(tmp_path) == ["0", "1"]


def test_slots_of_one_gpu_share_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"0,{MIG}")
    settings = Settings(devices="cuda:1,cuda:0,cuda:1,cpu,cpu,cuda:1", gpu_memory_fraction=0.9)
    factory = ChildFactory(settings)
    shares = [factory._policy(device).gpu_memory_fraction for device in slot_devices(settings) if device.is_gpu]
    assert shares == pytest.approx([0.3, 0.9, 0.3, 0.3])


def test_no_machine_makes_a_childs_arithmetic_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    monkeypatch.setenv("CUBLAS_EMULATE_DOUBLE_PRECISION", "1")
    monkeypatch.setenv("CUBLAS_EMULATION_STRATEGY", "eager")
    for device in (*slot_devices(Settings(devices="cpu")), spare_device()):
        told = {name: value for name, value in device.environment.items() if name.startswith(("CUBLAS", "NVIDIA"))}
        assert told == {"NVIDIA_TF32_OVERRIDE": "0", "CUBLAS_EMULATE_DOUBLE_PRECISION": "0"}


@pytest.mark.parametrize("name", ["cuda:1", "cuda", "tpu", ""])
def test_a_device_that_is_not_there_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="there are cpu and 1 GPUs"):
        devices(name, "0", monkeypatch)


def test_a_child_sees_little_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIPSERVE_DATABASE_URL", "postgresql://user:password@host/db")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert set(inherited_environment()) <= {"PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "TMPDIR"}
    assert "password" not in str(spare_device().environment)


def test_threads_of_a_child_do_not_spin() -> None:
    environment = spare_device().environment
    assert environment["OMP_WAIT_POLICY"] == "passive"
    assert int(environment["GOMP_SPINCOUNT"]) <= 1000
    assert environment["KMP_BLOCKTIME"] == "0"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("text", "cores"),
    [("max 100000", []), ("150000 100000", [1]), ("400000 100000", [4]), ("5000 100000", [1]), ("", []), ("1 0", [])],
)
def test_the_cores_of_a_control_group(tmp_path: Path, text: str, cores: list[int]) -> None:
    write(tmp_path / "cpu.max", text)
    assert granted_cores(tmp_path, tmp_path / "missing") == cores


def test_groups_above_count_in_both_versions(tmp_path: Path) -> None:
    groups, membership = tmp_path / "groups", tmp_path / "membership"
    write(membership, "5:memory:/a\n2:cpu,cpuacct:/pods/one\n0::/slice/job\n")
    assert granted_cores(groups, membership) == []
    write(groups / "slice/cpu.max", "300000 100000")
    write(groups / "slice/job/cpu.max", "max 100000")
    assert granted_cores(groups, membership) == [3]
    write(groups / "cpu,cpuacct/pods/one/cpu.cfs_quota_us", "250000")
    write(groups / "cpu,cpuacct/pods/one/cpu.cfs_period_us", "100000")
    assert sorted(granted_cores(groups, membership)) == [2, 3]
    write(groups / "cpu,cpuacct/pods/one/cpu.cfs_quota_us", "-1")
    assert granted_cores(groups, membership) == [3]
    assert core_count() >= 1
