"""Local constants about MNIST test images: `auto` beside the plain bound, attained slopes, open neurons and seconds.

.venv/bin/python -m benchmarks.local [--images 1] [--seconds 60] [--norms 2,inf] MODEL.onnx [MODEL.onnx ...]

2-balls of radius 0.05, 0.1, 0.25 and 0.5, inf-balls of radius 1/255, 0.01 and 0.03, in the ball's own norm; a network
of few inputs gets the boxes [0, 0.1]^n and [0, 1]^n in all three norms. Columns: where, neurons that are open there,
AutoLip on the ranges, the least bound and whose it is, the largest attained slope, their ratio, seconds.
"""

from __future__ import annotations

import argparse
import gzip
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from app.lipschitz.artifact import from_bytes
from app.lipschitz.deadline import Deadline
from app.lipschitz.exact.vertices import count_open
from app.lipschitz.files import analyze
from app.lipschitz.formulation import make_problem
from app.lipschitz.ingest.pipeline import capture_artifact
from app.lipschitz.request import Request
from benchmarks.networks import MNIST

RADII = {"2": (0.05, 0.1, 0.25, 0.5), "inf": (1 / 255, 0.01, 0.03)}
FEW_INPUTS = 16
"""Networks of fewer inputs are no networks of images."""


def pictures(count: int) -> np.ndarray:
    """The first test images in the order of the file, `(count, 784)` in [0, 1]."""
    pixels = gzip.decompress((MNIST / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    return np.frombuffer(pixels, np.uint8, count * 784).reshape(count, 784) / 255.0


def questions(size: int, count: int, norms: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and request fields of what is asked of a network with so many inputs."""
    if size < FEW_INPUTS:
        for norm in ("1", "2", "inf"):
            for upper in (0.1, 1.0):
                yield f"[0, {upper:g}]^{size}, {norm}", {"norm": norm, "domain": _box(upper)}
        return
    for number, picture in enumerate(pictures(count)):
        for norm in norms:
            for radius in RADII[norm]:
                domain = {"kind": "ball", "center": picture.tolist(), "radius": radius}
                yield f"image {number}, {norm}-ball {radius:.3g}", {"norm": norm, "domain": domain}


def _box(upper: float) -> dict[str, Any]:
    return {"kind": "box", "lower": 0.0, "upper": upper}


def row(model: bytes, artifact: bytes, name: str, fields: dict[str, Any], seconds: float) -> str:
    """One line of the table."""
    request = Request.parse(fields)
    problem = make_problem(from_bytes(artifact), request, Deadline.after(seconds), lambda _: None)
    begun = time.monotonic()
    result = analyze(model, fields | {"budget_s": seconds})["result"]
    spent = time.monotonic() - begun
    plain = next(one["value"] for one in result["estimates"] if one["method"] == "autolip")
    upper, lower = result["upper"], result["lower"]
    ratio = upper["value"] / lower["value"]
    cells = [name, str(count_open(problem)), f"{plain:.4g}", f"{upper['value']:.4g}", upper["method"]]
    numbers = [f"{lower['value']:.4g}", f"{ratio:.3f}", f"{spent:.0f}"]
    return f"| {' | '.join([*cells, *numbers])} |"


def main() -> None:
    """One table for all models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--images", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--norms", default="2,inf")
    options = parser.parse_args()
    print("| where | open | AutoLip | bound | by | attained | ratio | s |\n|---|---:|---:|---:|---|---:|---:|---:|")
    for path in options.models:
        model = path.read_bytes()
        artifact = capture_artifact(model, None)
        size = sum(int(np.prod(spec.shape)) for spec in from_bytes(artifact).inputs)
        for name, fields in questions(size, options.images, options.norms.split(",")):
            print(row(model, artifact, f"{path.stem}, {name}", fields, options.seconds), flush=True)


if __name__ == "__main__":
    main()
