"""Every bound of one network as a row of a markdown table, and the place of the table in docs/paper.md."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from app.contract.methods import method_named
from app.lipschitz.files import analyze
from app.lipschitz.methods import IMPLEMENTATIONS
from benchmarks.paper_networks import Case

COLUMNS = {
    "frobenius": "Frobenius",
    "autolip": "AutoLip",
    "greedy_seqlip": "greedy SeqLip",
    "seqlip": "certified SeqLip",
    "lipsdp": "LipSDP",
    "exact": "exact",
    "dataset": "data",
    "annealing": "annealing",
    "grid": "grid",
    "gradient": "gradient",
}
"""Methods in the paper's order; one that is missing or cannot serve a network prints a dash."""

HEADER = ("network", *COLUMNS.values(), "AutoLip / SeqLip", "upper / lower", "seconds", "training")


def bounds(case: Case, methods: Iterable[str], budget: float) -> dict[str, Any]:
    """The service's result for one network; no method runs longer than `budget` seconds."""
    chosen = [name for name in methods if name in IMPLEMENTATIONS and (name != "dataset" or case.dataset)]
    options = {name: _limited(name, budget) for name in chosen}
    fields = {"methods": chosen, "options": options, "budget_s": budget * (len(chosen) + 1)}
    result: dict[str, Any] = analyze(case.model, fields, dataset=case.dataset)["result"]
    return result


def _limited(method: str, budget: float) -> dict[str, float]:
    info = method_named(method)
    return {"seconds": budget} if info is not None and "seconds" in info.options else {}


def row(case: Case, methods: Iterable[str], budget: float) -> tuple[list[str], list[str]]:
    """The cells of one network, and for every method that gave no number its reason."""
    begun = time.perf_counter()
    result = bounds(case, methods, budget)
    seconds = time.perf_counter() - begun
    values = {record["method"]: record["value"] for record in result["estimates"]}
    gain = _ratio(values.get("autolip"), values.get("seqlip"))
    cells = [_number(values.get(name)) for name in COLUMNS]
    reasons = [f"{case.name}, {r['method']}: {r['reason']}" for r in result["estimates"] if r["value"] is None]
    return [case.name, *cells, gain, _number(result["ratio"], 5), f"{seconds:.0f}", case.note], reasons


def _ratio(a: float | None, b: float | None) -> str:
    return _number(a / b if a and b else None)


def _number(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}g}"


def line(cells: Iterable[str]) -> str:
    """One line of the table."""
    return f"| {' | '.join(cells)} |"


def heading() -> list[str]:
    """The table's first two lines."""
    return [line(HEADER), line(["---", *["---:"] * (len(HEADER) - 2), "---"])]


def write(page: Path, section: str, text: str) -> None:
    """Put `text` between the markers `<!-- section -->` and `<!-- /section -->` of a page."""
    opening, closing = f"<!-- {section} -->", f"<!-- /{section} -->"
    pattern = re.compile(f"{re.escape(opening)}.*?{re.escape(closing)}", re.DOTALL)
    content, count = pattern.subn(lambda _: f"{opening}\n{text}\n{closing}", page.read_text())
    if count != 1:
        raise ValueError(f"{page} must hold {opening} ... {closing} once, not {count} times")
    page.write_text(content)
