"""Wheels of what a bare CUDA image lacks: downloaded from the lock files where there is a network, unpacked where not.

.venv/bin/python -m benchmarks.gpu.wheels [build/gpu/wheels]

The image brings torch, numpy, scipy, onnx, onnxruntime and what these need; none of them is carried or replaced.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "gpu" / "wheels"
PYTHONS = ("3.12", "3.11", "3.13")
"""The likeliest first; it also gets the pure wheels."""
PLATFORMS = [f"manylinux_2_{n}_x86_64" for n in (34, 31, 28, 27, 26, 24, 17, 12, 5)]
PLATFORMS += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"]
PROVIDED = re.compile(
    r"torch(vision)?|triton|nvidia-(?!ml-py).*|cuda-.*|numpy|scipy|onnx|onnxruntime|ml-dtypes|protobuf|flatbuffers"
    r"|pillow|sympy|mpmath|networkx"
)
"""The image has these, or they are torchvision's, without which all but two operators can be read."""
UNNEEDED = re.compile(r"vl-convert-python|uvloop|watchfiles|websockets")
"""Large or compiled, and only for pictures and faster connections."""
FOR_TESTS = ("hypothesis", "sortedcontainers")


def requirements() -> list[str]:
    """`name==version` of everything to carry."""
    locked = _locked("requirements.lock")
    kept = {
        name: line for name, line in locked.items() if not PROVIDED.fullmatch(name) and not UNNEEDED.fullmatch(name)
    }
    wanted = _locked("requirements-dev.lock")
    return [*kept.values(), *(wanted[name] for name in FOR_TESTS)]


def _locked(file: str) -> dict[str, str]:
    lines = re.findall(r"^([a-z0-9][\w.-]*)(==\S+)", (ROOT / file).read_text(), re.MULTILINE)
    return {name: name + version for name, version in lines}


def build(folder: Path) -> None:
    """Fill an empty folder; what is compiled comes once for each Python."""
    folder.mkdir(parents=True, exist_ok=True)
    for wheel in folder.glob("*.whl"):
        wheel.unlink()
    asked = requirements()
    for python in PYTHONS:
        _download(folder, python, asked)
        asked = [line for line in asked if _is_for_one_python(folder, line)]


def _download(folder: Path, python: str, asked: list[str]) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    platforms = [option for platform in PLATFORMS for option in ("--platform", platform)]
    subprocess.run([*pip, "--python-version", python, *platforms, "--dest", str(folder), *asked], check=True)


def _is_for_one_python(folder: Path, line: str) -> bool:
    name = re.sub(r"[-_.]+", "_", line.split("==")[0])
    wheels = [path.name for path in folder.glob("*.whl") if path.name.lower().startswith(f"{name}-")]
    return not any(re.search(r"-py(2\.py)?3-none-any\.whl$|-abi3-", wheel) for wheel in wheels)


def environment(folder: Path, target: Path) -> Path:
    """The interpreter of a new virtual environment: the folder's wheels, and behind them this one's own packages.

    One that children of a service find without being told: they inherit no PYTHONPATH. Needs no pip.
    """
    venv.create(target, symlinks=True, with_pip=False)
    site = target / "lib" / "python{}.{}".format(*sys.version_info) / "site-packages"
    unpack(folder, site)
    (site / "image.pth").write_text("\n".join(entry for entry in sys.path if entry.endswith("-packages")) + "\n")
    return target / "bin" / "python"


def unpack(folder: Path, target: Path) -> list[str]:
    """Unpack what this interpreter can use; the files' names."""
    from packaging.tags import sys_tags
    from packaging.utils import parse_wheel_filename

    usable = set(sys_tags())
    found = [path for path in sorted(folder.glob("*.whl")) if parse_wheel_filename(path.name)[3] & usable]
    for path in found:
        with zipfile.ZipFile(path) as wheel:
            wheel.extractall(target)
    return [path.name for path in found]


def main() -> None:
    """Download, and say how large the folder is."""
    parser = argparse.ArgumentParser(description="Wheels of what a bare CUDA image lacks.")
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER)
    folder = parser.parse_args().folder
    build(folder)
    sizes = [path.stat().st_size for path in folder.glob("*.whl")]
    print(f"{len(sizes)} wheels, {sum(sizes) / 2**20:.1f} MiB, in {folder}")


if __name__ == "__main__":
    main()
