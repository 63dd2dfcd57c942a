"""Run every step, each with a time limit and a failure of its own, and write `gpu.md` and `gpu.json` after each."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks.gpu.report import markdown
from benchmarks.gpu.steps import ROOT, Outcome, Step, run, steps
from benchmarks.gpu.wheels import FOLDER, environment

OLDEST = (3, 11)
"""Of Python; what Lipserve itself needs."""


def main() -> int:
    """0 when every step passed."""
    parser = argparse.ArgumentParser(prog="benchmarks/gpu/run")
    parser.add_argument(
        "out", type=Path, nargs="?", default=os.environ.get("OUT") or ROOT / "build" / "gpu" / "results"
    )
    parser.add_argument("--wheels", type=Path, default=FOLDER, help="what benchmarks.gpu.wheels has downloaded")
    parser.add_argument("--minutes", type=float, default=8.5, help="in all; what does not fit in is left out")
    parser.add_argument("--small", action="store_true", help="seconds' worth of work, to see that everything runs")
    parser.add_argument("--only", nargs="*", default=[], help="names of steps")
    given = parser.parse_args()
    if sys.version_info < OLDEST:
        parser.error(
            f"Lipserve needs Python 3.11 or newer; this is {sys.version.split()[0]}. PYTHON=... names another."
        )
    out = Path(given.out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    ends = time.monotonic() + 60.0 * given.minutes
    with tempfile.TemporaryDirectory(prefix="lipserve-gpu-") as name:
        work = Path(name)
        python = environment(given.wheels, work / "environment")
        chosen = [step for step in steps(given.small, work) if not given.only or step.name in given.only]
        outcomes = _run_all(chosen, python, work, ends, out)
    print((out / "gpu.md").read_text())
    return 0 if all(outcome.passed for outcome in outcomes) else 1


def _run_all(chosen: list[Step], python: Path, work: Path, ends: float, out: Path) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for step in chosen:
        outcomes.append(run(step, python, work, ends - time.monotonic()))
        print(f"{outcomes[-1].seconds:6.1f} s  {step.name}: {outcomes[-1].status}", flush=True)
        (out / "gpu.json").write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1))
        (out / "gpu.md").write_text(markdown(outcomes))
    return outcomes


if __name__ == "__main__":
    sys.exit(main())
