"""What a report shows: a job in the contract's form, drawn, summed up and put into words."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

from app.api.views import JobView, ModelView
from app.pages import text, words
from app.pages.advice import advice
from app.pages.charts.draw import Spec
from app.pages.charts.layers import shrinks
from app.pages.charts.picture import picture
from app.pages.figures import (
    Figure,
    bracket_figure,
    convergence_figures,
    growth_figure,
    radius_figure,
    share_figure,
)
from app.pages.rails import Rail, rails, sources_of

FEW_LAYERS = 24
"""Longer tables of layers are folded."""
MOST_SAMPLES = 500
"""Rows of the table of radii; the JSON holds all."""
OVER = ("succeeded", "failed", "canceled", "timed_out")

Events = list[tuple[datetime, dict[str, Any]]]
"""Reports of progress, oldest first."""


@dataclass(frozen=True)
class Layer:
    """A row of the table of layers: the contract's row, its piece of the graph, and its heat from 0 to 1."""

    row: dict[str, Any]
    rail: Rail
    heat: float
    joins: int


@dataclass(frozen=True)
class Radii:
    """What the certificates of samples say together."""

    rows: list[dict[str, Any]]
    total: int
    right: int
    median: float | None
    figure: Figure | None


@dataclass(frozen=True)
class Report:
    """Everything that the template shows of a job."""

    job: JobView
    model: ModelView | None
    certificate: dict[str, Any] | None
    is_over: bool
    bracket: Figure | None
    convergence: list[tuple[str, Figure]]
    shares: Figure | None
    growth: Figure | None
    layers: list[Layer]
    radii: Radii | None
    limits: list[words.Limit]
    advice: str

    @property
    def title(self) -> str:
        """The model's name, else the beginning of its digest."""
        return title_of(self.job, self.model)

    @property
    def is_long(self) -> bool:
        """Whether the table of layers is folded."""
        return len(self.layers) > FEW_LAYERS

    @property
    def file(self) -> str:
        """The model's file name as a shell takes it."""
        return shlex.quote(self.title if self.model else "MODEL")


def report_of(
    job: JobView, model: ModelView | None, events: Events, certificate: dict[str, Any] | None = None
) -> Report:
    """The report of a job."""
    result = job.result or {}
    rows = parts_of(result.get("layers") or [])
    return Report(
        job=job,
        model=model,
        certificate=certificate,
        is_over=job.status in OVER,
        bracket=bracket_figure(job.request, result),
        convergence=list(convergence_figures(job.result, events, job.started_at)),
        shares=share_figure(rows),
        growth=growth_figure(rows),
        layers=_layers(rows),
        radii=_radii(job.request, result.get("certificates") or []),
        limits=words.limits(job.request, result) if job.result else [],
        advice=advice(job.error) if job.error else "",
    )


def title_of(job: JobView, model: ModelView | None) -> str:
    """The model's name, else the beginning of its digest."""
    return text.plain(model.name) if model else f"model {job.model[:12]}"


def picture_of(job: JobView, model: ModelView | None) -> Spec:
    """The bracket as a picture of its own."""
    name, *lines = told_of(job, model)
    return picture(name, lines, job.result, (job.request.get("gate") or {}).get("max_upper"))


def told_of(job: JobView, model: ModelView | None) -> list[str]:
    """A job in a few lines: its title, its bracket or status, its verdict or error."""
    result = job.result or {}
    status = words.STATUSES[job.status][0].lower()
    lines = [f"{words.interval(result) or status}  ({words.question(job.request)})"]
    if result.get("verdict"):
        lines += [f"gate {result['verdict']}: {' '.join(limit.found for limit in words.limits(job.request, result))}"]
    if job.error:
        lines += [str(job.error.get("detail"))]
    return [title_of(job, model), *map(text.plain, lines)]


def parts_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The layers of a result. Results of before have shares of log L, of either sign and any size, and no factors."""
    if all("factor" in row for row in rows):
        return rows
    sizes = [row.get("share") or 0.0 for row in rows]
    total = sum(map(abs, sizes)) or 1.0
    factors = [row.get("lipschitz") for row in rows]
    return [
        row | {"share": abs(size) / total, "factor": factor}
        for row, size, factor in zip(rows, sizes, factors, strict=True)
    ]


def _layers(rows: list[dict[str, Any]]) -> list[Layer]:
    sources = sources_of(rows)
    heats = [0.0 if shrinks(row) else row.get("share") or 0.0 for row in rows]
    most = max(heats, default=0.0) or 1.0
    return [
        Layer(row, rail, heat / most, len(of_row))
        for row, rail, of_row, heat in zip(rows, rails(sources), sources, heats, strict=True)
    ]


def _radii(request: dict[str, Any], samples: list[dict[str, Any]]) -> Radii | None:
    if not samples:
        return None
    right = [words.reach(one) for one in samples if words.is_right(one)]
    middle = median(right) if right else None
    drawing = radius_figure(request, samples)
    return Radii(samples[:MOST_SAMPLES], len(samples), len(right), middle, drawing)
