"""What `lipserve analyze` shows: progress on a terminal, and a summary for people."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table

from ..contract.comparison import ChangeView, ComparisonView
from ..contract.domain import norm_words
from ..contract.progress import Progress
from ..contract.result import EstimateView, LayerView, ResultView
from ..printable import printable

WIDTH = 100
NONE = "-"


class Display:
    """A progress bar on standard error, fed with the `progress` records of a job; silent unless `is_live`."""

    def __init__(self, *, is_live: bool) -> None:
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
        self._progress = Bar(*columns, console=Console(stderr=True), transient=True, disable=not is_live)
        self._task = self._progress.add_task("starting", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, progress: Progress) -> None:
        """Show where the analysis is."""
        place = " ".join(printable(part) for part in (progress.method, progress.phase) if part)
        ends = (("lower", progress.lower), ("upper", progress.upper))
        bracket = [f"{name} {value:.6g}" for name, value in ends if value is not None]
        self._progress.update(
            self._task,
            description=", ".join([place, *bracket]),
            completed=progress.done or 0,
            total=progress.total,
        )


def summary(name: str, result: ResultView) -> str:
    """The bracket, the methods and the layers as text."""
    console = Console(width=WIDTH, no_color=True, highlight=False, markup=False)
    with console.capture() as captured:
        console.print(_headline(name, result))
        console.print(_methods(result.estimates))
        console.print(_layers(result.layers))
        for warning in result.warnings:
            console.print(f"warning: {printable(warning)}")
    return captured.get().rstrip()


def comparison_summary(names: tuple[str, str], result: ComparisonView) -> str:
    """The difference, the layers that differ, and what becomes of decisions, as text."""
    console = Console(width=WIDTH, no_color=True, highlight=False, markup=False)
    with console.capture() as captured:
        console.print(_difference(names, result))
        if result.layers:
            console.print(_changes(result.layers))
        for warning in result.warnings:
            console.print(f"warning: {printable(warning)}")
    return captured.get().rstrip()


def _difference(names: tuple[str, str], result: ComparisonView) -> str:
    f, g = map(printable, names)
    if result.identical:
        lines = [f"{f} and {g} are identical functions"]
    else:
        lower, upper = (_number(end, digits=10) for end in result.ends)
        lines = [f"{lower} <= largest difference of {f} and {g} ({result.norm}-norm) <= {upper}"]
        ends = (result.lipschitz_of_difference.lower, result.lipschitz_of_difference.upper)
        least, most = (_number(None if end is None else end.value, digits=10) for end in ends)
        lines.append(f"{least} <= Lipschitz constant of the difference <= {most}")
    if result.decisions is not None:
        told = result.decisions
        lines.append(f"decisions: {told.kept} kept, {told.changed} changed, {told.open} open")
    if result.verdict is not None:
        lines.append(f"gate: {result.verdict}")
    return "\n".join(lines)


def _changes(layers: list[ChangeView]) -> Table:
    table = _table("layer", "operator", "change", "contribution", "")
    for layer in layers:
        ends = _number(layer.change), _number(layer.contribution)
        table.add_row(*map(printable, (layer.name, layer.op, *ends, "" if layer.corresponds else "no counterpart")))
    return table


def _headline(name: str, result: ResultView) -> str:
    lower, upper = (_number(end, digits=10) for end in result.ends)
    constant = "Lipschitz constant" if result.offset is None else "Lipschitz constant without rounding"
    lines = [f"{printable(name)}: {lower} <= {constant} ({norm_words(result.norm)}) <= {upper}"]
    if result.offset is not None:
        e = "inf" if result.offset.value is None else repr(result.offset.value)
        lines.append(f"rounding as noise: |f(x) - f(y)| <= {upper} |x - y| + {e}")
    if result.ratio is not None:
        lines.append(f"ratio {result.ratio:.6g}")
    if result.certificates:
        radii = sorted(row.radius for row in result.certificates if row.radius is not None)
        lines.append(f"{len(radii)} radii, median {_number(radii[len(radii) // 2] if radii else None)}")
    if result.verdict is not None:
        lines.append(f"gate: {result.verdict}")
    return "\n".join(lines)


def _methods(estimates: list[EstimateView]) -> Table:
    table = _table("method", "kind", "value", "seconds", "")
    for one in estimates:
        kind = f"{one.kind}, {one.guarantee}" if one.guarantee != one.kind else one.kind
        remark = "" if one.status == "ok" else f"{one.status}: {one.reason}"
        cells = one.method, kind, _number(one.value), f"{one.seconds:.2f}", remark
        table.add_row(*map(printable, cells))
    return table


def _layers(layers: list[LayerView]) -> Table:
    table = _table("layer", "operator", "norm", "cumulative", "factor", "share")
    for layer in layers:
        share = NONE if layer.share is None else f"{layer.share:.1%}"
        ends = (_number(layer.lipschitz), _number(layer.cumulative), _number(layer.factor, digits=4))
        table.add_row(*map(printable, (layer.name, layer.op, *ends, share)))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="")
    for column in columns:
        is_number = column in ("value", "seconds", "norm", "cumulative", "factor", "share", "change", "contribution")
        table.add_column(column, justify="right" if is_number else "left", overflow="fold")
    return table


def _number(value: float | None, digits: int = 6) -> str:
    return NONE if value is None else f"{value:.{digits}g}"
