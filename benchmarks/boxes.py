"""Brackets on the boxes of ACAS Xu's properties, and of other models on [-1, 1]^n and on balls about zero, by `auto`.

.venv/bin/python -m benchmarks.boxes [--seconds 20] [--norms 2] MODEL [MODEL ...]

Networks of five inputs are ACAS Xu's: its properties 1 and 2 share a box, as properties 3 and 4 have their own (Katz et
al., Reluplex, 2017; in the files' normalised units). Columns as in `benchmarks.local`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from app.lipschitz.artifact import from_bytes
from app.lipschitz.ingest.pipeline import capture_artifact
from benchmarks.local import row

PROPERTIES = {
    "phi 1, 2": ([0.6, -0.5, -0.5, 0.45, -0.5], [0.6798577687, 0.5, 0.5, 0.5, -0.45]),
    "phi 3": ([-0.3035311561, -0.0095492966, 0.4933803236, 0.3, 0.3], [-0.2985528119, 0.0095492966, 0.5, 0.5, 0.5]),
    "phi 4": ([-0.3035311561, -0.0095492966, 0.0, 0.3181818182, 0.0833333333],
              [-0.2985528119, 0.0095492966, 0.0, 0.5, 0.1666666667]),
}  # fmt: skip
RADII = (0.1, 1.0)


def questions(size: int, norm: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and request fields of what is asked of a model with so many inputs."""
    if size == len(PROPERTIES["phi 3"][0]):
        for name, (lower, upper) in PROPERTIES.items():
            yield name, {"norm": norm, "domain": {"kind": "box", "lower": lower, "upper": upper}}
        return
    yield f"[-1, 1]^{size}", {"norm": norm, "domain": {"kind": "box", "lower": -1.0, "upper": 1.0}}
    for radius in RADII:
        yield f"ball {radius:g}", {"norm": norm, "domain": {"kind": "ball", "center": 0.0, "radius": radius}}


def main() -> None:
    """One table for all models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--norms", default="2")
    options = parser.parse_args()
    print("| where | open | AutoLip | bound | by | attained | ratio | s |\n|---|---:|---:|---:|---|---:|---:|---:|")
    for path in options.models:
        model = path.read_bytes()
        artifact = capture_artifact(model, None)
        size = sum(int(np.prod(spec.shape)) for spec in from_bytes(artifact).inputs)
        for norm in options.norms.split(","):
            for name, fields in questions(size, norm):
                print(row(model, artifact, f"{path.stem}, {name}", fields, options.seconds), flush=True)


if __name__ == "__main__":
    main()
