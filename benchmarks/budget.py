"""How far jobs overshoot their `budget_s`: every model of a folder, quiet or with busy processes beside.

    python -m benchmarks.budget ../shared/models --budgets 5 20 --busy 2

A row a model and budget: seconds of reading (which nothing can interrupt), until the first bound, of all; the overshoot
over the budget (or over the reading, where that alone took more), the best bound's method, and whether there is a
certificate. As a child of the service, the process has run a tiny model before; the load average tells how busy the
machine was otherwise.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.jobs.devices import PATIENCE

KINDS = (".onnx", ".pt", ".jit", ".pt2")


def busy() -> None:
    """One core's worth of work, for ever."""
    while True:
        sum(range(10_000))


@contextmanager
def beside(count: int) -> Iterator[None]:
    """So many busy processes."""
    processes = [multiprocessing.get_context("spawn").Process(target=busy, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def measured(path: Path, budget_s: float, methods: list[str]) -> dict[str, Any]:
    """One analysis, in this process."""
    from app.lipschitz.errors import LipschitzError
    from app.lipschitz.files import analyze

    begun = time.monotonic()
    marks: dict[str, float] = {}

    def progress(news: dict[str, object]) -> None:
        if "method" in news:
            marks.setdefault("read", time.monotonic() - begun)
        if "upper" in news:
            marks.setdefault("first", time.monotonic() - begun)

    row: dict[str, Any] = {"model": path.name, "budget": budget_s}
    try:
        answer = analyze(path.read_bytes(), {"methods": methods, "budget_s": budget_s}, progress)
        row["method"] = (answer["result"]["upper"] or {}).get("method", "none")
        row["certificate"] = answer["certificate"] is not None
    except LipschitzError as refusal:
        row["refused"] = refusal.slug
    total = time.monotonic() - begun
    return row | {"total": total, "read": marks.get("read", total), "first": marks.get("first")}


def warm_up() -> None:
    """Import what is imported late."""
    from app.worker import warmup

    warmup.run()


def overshoot(row: dict[str, Any]) -> float:
    """Seconds beyond the budget, or beyond the reading where that took longer."""
    return max(row["total"] - max(row["budget"], row["read"]), 0.0)


def main() -> None:
    """Print the rows as they come, and the worst and median overshoot of each budget."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--budgets", type=float, nargs="+", default=[5.0, 20.0])
    parser.add_argument("--methods", nargs="+", default=["auto"])
    parser.add_argument("--busy", type=int, default=0, help="busy processes beside")
    parser.add_argument("--only", default="", help="models whose names contain this")
    options = parser.parse_args()
    os.environ.update(PATIENCE)  # before torch is imported, as for a child of the service
    paths = sorted(path for path in options.folder.rglob("*") if path.suffix in KINDS and options.only in path.name)
    print(f"{'model':44} {'budget':>7} {'read':>7} {'first':>7} {'total':>7} {'over':>7}  method, certificate")
    warm_up()
    before = os.getloadavg()[0]
    with beside(options.busy):
        rows = [shown(measured(path, budget, options.methods)) for path in paths for budget in options.budgets]
    print(f"load average {before:.1f} before, {os.getloadavg()[0]:.1f} after")
    for budget in options.budgets:
        over = [overshoot(row) for row in rows if row["budget"] == budget and "refused" not in row]
        allowed = 0.1 * budget + 2.0
        if over:
            figures = f"worst {max(over):.2f} s, median {statistics.median(over):.2f} s"
            beyond = f"{sum(one > allowed for one in over)} beyond {allowed:g} s"
            print(f"budget {budget:g} s, {len(over)} models, {options.busy} busy beside: overshoot {figures}, {beyond}")


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """The row, printed."""
    first = f"{row['first']:7.2f}" if row["first"] is not None else f"{'-':>7}"
    outcome = row.get("refused") or f"{row['method']}, {'yes' if row['certificate'] else 'NO'}"
    figures = f"{row['budget']:7g} {row['read']:7.2f} {first} {row['total']:7.2f} {overshoot(row):7.2f}"
    print(f"{row['model'][:44]:44} {figures}  {outcome}", flush=True)
    return row


if __name__ == "__main__":
    main()
