"""Attained values: the ascent alone, and the deep search that `auto` ends with.

.venv/bin/python -m benchmarks.attained [--norm 2] [--box -0.5 0.5] [--rounds 40] [--seeds 1] MODEL [MODEL ...]

MODEL is a file, followed by its input shape where it stores none: `policy.pt=1,45`. Seconds are processor seconds.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from app.contract.methods import method_named
from app.lipschitz.artifact import from_bytes
from app.lipschitz.artifact.captured import Captured
from app.lipschitz.deadline import Deadline
from app.lipschitz.formulation import make_problem
from app.lipschitz.ingest import capture_artifact
from app.lipschitz.lower.gradient import gradient
from app.lipschitz.request import Request


def captured(model: str) -> Captured:
    """The graph of FILE or FILE=SHAPE."""
    path, _, shape = model.partition("=")
    shapes = [[int(side) for side in shape.split(",")]] if shape else None
    return from_bytes(capture_artifact(Path(path).read_bytes(), shapes))


def searched(graph: Captured, fields: dict[str, Any], rounds: int) -> tuple[float, float]:
    """What is attained, and processor seconds."""
    info = method_named("gradient")
    assert info is not None
    begun = time.process_time()
    problem = make_problem(graph, Request.parse(fields), Deadline.after(3600), lambda _: None)
    found = gradient(problem, info.checked({"rounds": rounds, "seconds": 3600.0}))  # type: ignore[arg-type]
    return found.value or 0.0, time.process_time() - begun


def main() -> None:
    """Print one line a model and seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--norm", default="2")
    parser.add_argument("--box", nargs=2, type=float)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=1)
    asked = parser.parse_args()
    domain = {"kind": "box", "lower": asked.box[0], "upper": asked.box[1]} if asked.box else {"kind": "all"}
    print("| model | seed | ascent | deep search | ratio | s ascent | s deep |\n|---|---|---|---|---|---|---|")
    for model in asked.models:
        graph = captured(model)
        for seed in range(asked.seeds):
            fields = {"norm": asked.norm, "domain": domain, "seed": seed}
            (plain, short), (deep, long) = (searched(graph, fields, rounds) for rounds in (0, asked.rounds))
            name = Path(model.partition("=")[0]).stem
            print(f"| {name} | {seed} | {plain:.5g} | {deep:.5g} | {deep / plain:.3g} | {short:.1f} | {long:.1f} |")


if __name__ == "__main__":
    main()
