"""LipSDP on model files: the certified bound, the relaxation's optimum as the ascent sees it, and AutoLip's product.

.venv/bin/python -m benchmarks.optimum [--seconds 120] [--norm 2] MODEL [MODEL ...]

MODEL is a file, followed by its input shape where it stores none: `policy.pt=1,45`. Seconds are processor seconds.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import torch

from app.contract.options import LipsdpOptions
from app.lipschitz.deadline import Deadline
from app.lipschitz.formulation import make_problem
from app.lipschitz.lipsdp.lipsdp import lipsdp
from app.lipschitz.request import Request
from benchmarks.attained import captured


def row(model: str, norm: str, seconds: float) -> str:
    """One line of the table."""
    graph = captured(model)
    begun = time.process_time()
    problem = make_problem(graph, Request.parse({"norm": norm}), Deadline.after(seconds), lambda _: None)
    found = lipsdp(problem, LipsdpOptions())
    product = math.prod(float(layer["autolip"]) for layer in found.layers)  # type: ignore[arg-type]
    spent, name = time.process_time() - begun, Path(model.partition("=")[0]).stem
    numbers = (found.value, found.details["relaxation_optimum"], product)
    told = " | ".join(f"{number:.6g}" for number in numbers)
    return f"| {name} | {told} | {found.details['neurons']} | {spent:.1f} |"


def main() -> None:
    """Print one line a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--norm", default="2")
    parser.add_argument("--seconds", type=float, default=120.0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print("| model | certified | optimum | AutoLip | neurons | s |\n|---|---|---|---|---|---|")
    for model in asked.models:
        print(row(model, asked.norm, asked.seconds), flush=True)


if __name__ == "__main__":
    main()
