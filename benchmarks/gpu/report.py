"""The outcomes as one page: what passed, CPU and GPU beside each other, and the ends of the logs of what did not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.gpu.steps import Outcome

Row = dict[str, Any]


def markdown(outcomes: Sequence[Outcome]) -> str:
    """The page."""
    rows = [row for outcome in outcomes for row in outcome.rows]
    timed, told = [row for row in rows if "seconds" in row], [row for row in rows if "seconds" not in row]
    parts = [
        "# Lipserve on a GPU",
        table(("step", "outcome", "s"), [(o.name, o.status, f"{o.seconds:.1f}") for o in outcomes]),
        "## What was seen",
        table(("what", "", ""), [(row["case"], row.get("note", ""), _verdict(row)) for row in told]),
        "## CPU and GPU",
        table(("case", "CPU, s", "GPU, s", "CPU / GPU", "CPU value", "GPU value", "agree", "note"), compared(timed)),
        *(f"## {o.name}: {o.status}\n\n```\n{o.tail.strip()}\n```" for o in outcomes if not o.passed and o.tail),
    ]
    return "\n\n".join(parts) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "/").replace("\n", " ") for cell in line) + " |" for line in lines
    )


def compared(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """One line a case, in the order in which the cases came."""
    cases = list(dict.fromkeys(row["case"] for row in rows))
    found = {(row["case"], row["device"]): row for row in rows}
    return [_line(case, found.get((case, "cpu")), found.get((case, "cuda"))) for case in cases]


def _line(case: str, cpu: Row | None, gpu: Row | None) -> tuple[str, ...]:
    both = [row for row in (cpu, gpu) if row is not None]
    ratio = f"{cpu['seconds'] / gpu['seconds']:.2g}" if cpu and gpu and gpu["seconds"] else ""
    notes = "; ".join(dict.fromkeys(row["note"] for row in both if row.get("note")))
    return (case, _cell(cpu, "seconds", ".3g"), _cell(gpu, "seconds", ".3g"), ratio,
            _cell(cpu, "value", ".12g"), _cell(gpu, "value", ".12g"), agreement(cpu, gpu), notes)  # fmt: skip


def agreement(cpu: Row | None, gpu: Row | None) -> str:
    """Whether the two values are within what the case allows, relative to the larger."""
    if cpu is None or gpu is None or "value" not in cpu or "value" not in gpu:
        return ""
    off = abs(cpu["value"] - gpu["value"]) / max(abs(cpu["value"]), abs(gpu["value"]), 1e-300)
    if "within" not in cpu:
        return f"{off:.1g} apart"
    return f"{off:.1g}, {'yes' if off <= cpu['within'] else '**NO**'}"


def _cell(row: Row | None, name: str, form: str) -> str:
    return "" if row is None or name not in row else format(row[name], form)


def _verdict(row: Row) -> str:
    return {True: "ok", False: "**WRONG**", None: ""}[row.get("ok")]
