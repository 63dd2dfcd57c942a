"""How much a bounded domain tightens AutoLip: local over global bound on boxes about 1/2.

.venv/bin/python -m benchmarks.domains MODEL.onnx [MODEL.onnx ...]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from app.lipschitz.files import analyze

RADII = (1.0, 0.1, 0.01)


def bracket(data: bytes, domain: dict[str, Any]) -> tuple[float, float]:
    """Certified upper and witnessed lower bound on a domain."""
    result = analyze(data, {"domain": domain})["result"]
    return result["upper"]["value"], result["lower"]["value"]


def main() -> None:
    """Print one line a file."""
    print("file", *(f"local/global at r={radius:g}" for radius in RADII), "upper and lower at the smallest r", sep="; ")
    for path in map(Path, sys.argv[1:]):
        whole, _ = bracket(path.read_bytes(), {"kind": "all"})
        boxes = [{"kind": "box", "lower": 0.5 - radius, "upper": 0.5 + radius} for radius in RADII]
        local = [bracket(path.read_bytes(), box) for box in boxes]
        assert all(upper <= whole for upper, _ in local), path
        ratios = (f"{upper / whole:.3f}" for upper, _ in local)
        print(path.name, *ratios, f"{local[-1][0]:.4g} and {local[-1][1]:.4g}", sep="; ")


if __name__ == "__main__":
    main()
