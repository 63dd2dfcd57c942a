"""What a report shows: a job in the contract's form, drawn, summed up and put into words."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass
from statistics import median

from ..advice import advice
from ..contract.comparison import ComparisonView
from ..contract.job import JobView
from ..contract.question import Gate
from ..contract.radii import RadiiView, SampleView, WorstView
from ..contract.result import CertificateView, LayerView, RankView, ResultView
from ..contract.uploads import ModelView
from . import text, words
from .charts.layers import shrinks
from .charts.picture import picture
from .charts.scales import Spec
from .figures import (
    Events,
    Figure,
    bracket_figure,
    convergence_figures,
    growth_figure,
    image_figure,
    radius_figure,
    sensitivity_figures,
    share_figure,
)
from .limits import is_right, reach
from .limits import limits as limits_of
from .rails import Rail, rails, sources_of

FEW_LAYERS = 24
"""Longer tables of layers are folded."""
MOST_SAMPLES = 500
"""Rows of the table of radii; the JSON holds all."""
NOTHING = ResultView(
    norm="2",
    upper=None,
    lower=None,
    ratio=None,
    verdict=None,
    estimates=[],
    layers=[],
    certificates=[],
    warnings=[],
)
"""What is known of a job without a result."""
OVER = ("succeeded", "failed", "canceled", "timed_out")


@dataclass(frozen=True)
class Layer:
    """A row of the table of layers: the contract's row, its piece of the graph, and its heat from 0 to 1."""

    row: LayerView
    rail: Rail
    heat: float
    joins: int


@dataclass(frozen=True)
class WorstRow:
    """One of the rows with the smallest radii; pictures of it and of what changes its prediction, where it is one."""

    row: WorstView
    picture: Figure | None
    adversarial: Figure | None


@dataclass(frozen=True)
class Radii:
    """What the certificates of samples say together."""

    rows: list[SampleView]
    total: int
    right: int
    median: float | None
    figure: Figure | None
    summary: RadiiView | None
    worst: list[WorstRow]


@dataclass(frozen=True)
class Sensitivities:
    """What is told of single derivatives."""

    rows: list[tuple[RankView, str]]
    total: int
    has_attained: bool
    signs: str
    picture: Figure | None
    bars: Figure | None


@dataclass(frozen=True)
class Report:
    """Everything that the template shows of a job."""

    job: JobView
    model: ModelView | None
    certificate: CertificateView | None
    is_over: bool
    is_comparison: bool
    bracket: Figure | None
    convergence: list[tuple[str, Figure]]
    shares: Figure | None
    growth: Figure | None
    layers: list[Layer]
    radii: Radii | None
    sensitivities: Sensitivities | None
    meaning: str
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
    job: JobView, model: ModelView | None, events: Events, certificate: CertificateView | None = None
) -> Report:
    """The report of a job."""
    result, gate = job.result or NOTHING, job.request.gate
    is_comparison = isinstance(result, ComparisonView)
    rows = [] if is_comparison else parts_of(result.layers)
    return Report(
        job=job,
        model=model,
        certificate=certificate,
        is_over=job.status in OVER,
        is_comparison=is_comparison,
        bracket=None if is_comparison else bracket_figure(gate, result),
        convergence=list(convergence_figures(job.result, events, job.started_at)),
        shares=share_figure(rows),
        growth=growth_figure(rows),
        layers=_layers(rows),
        radii=_radii(gate, result),
        sensitivities=None if is_comparison else _sensitivities(result),
        meaning="" if is_comparison else words.meaning(job.request, result),
        limits=limits_of(gate, result) if job.result else [],
        advice=advice(job.error.type) if job.error else "",
    )


def title_of(job: JobView, model: ModelView | None) -> str:
    """The model's name, else the beginning of its digest."""
    return text.plain(model.name) if model else f"model {job.model[:12]}"


def picture_of(job: JobView, model: ModelView | None) -> Spec:
    """The bracket as a picture of its own."""
    name, *lines = lines_of(job, model)
    return picture(name, lines, job.result, None if job.request.gate is None else job.request.gate.max_upper)


def lines_of(job: JobView, model: ModelView | None) -> list[str]:
    """A job in a few lines: its title, its bracket or status, its verdict or error."""
    result = job.result or NOTHING
    status = words.STATUSES[job.status][0].lower()
    lines = [f"{words.interval(result) or status}  ({words.question(job.request)})"]
    if result.verdict:
        limits = limits_of(job.request.gate, result)
        lines += [f"gate {result.verdict}: {' '.join(limit.finding for limit in limits)}"]
    if job.error:
        lines += [job.error.detail]
    return [title_of(job, model), *map(text.plain, lines)]


def parts_of(rows: list[LayerView]) -> list[LayerView]:
    """The layers of a result. Results of before have shares of log L, of either sign and any size, and no factors."""
    if all("factor" in row.model_fields_set for row in rows):
        return rows
    total = sum(abs(row.share or 0.0) for row in rows) or 1.0
    return [row.model_copy(update={"share": abs(row.share or 0.0) / total, "factor": row.lipschitz}) for row in rows]


def _layers(rows: list[LayerView]) -> list[Layer]:
    sources = sources_of(rows)
    heats = [0.0 if shrinks(row) else row.share or 0.0 for row in rows]
    most = max(heats, default=0.0) or 1.0
    return [
        Layer(row, rail, heat / most, len(of_row))
        for row, rail, of_row, heat in zip(rows, rails(sources), sources, heats, strict=True)
    ]


def _sensitivities(result: ResultView) -> Sensitivities | None:
    sensitivities = result.sensitivities
    if sensitivities is None:
        return None
    inputs = result.model.inputs
    shape = [size for size in inputs[0].shape if isinstance(size, int)] if len(inputs) == 1 else []
    picture, bars = sensitivity_figures(sensitivities, shape)
    rows = [(one, words.direction(one.index, sensitivities)) for one in sensitivities.ranking[:MOST_SAMPLES]]
    attained = any(one.attained is not None for one in sensitivities.ranking)
    return Sensitivities(rows, len(sensitivities.ranking), attained, words.signs(sensitivities), picture, bars)


def _radii(gate: Gate | None, result: ResultView) -> Radii | None:
    samples, together = result.certificates, result.radii
    if not samples:
        return None
    right = [reach(one) for one in samples if is_right(one)]
    drawing = radius_figure(gate, samples, together)
    rows = samples[:MOST_SAMPLES]
    if together is None:
        return Radii(rows, len(samples), len(right), median(right) if right else None, drawing, None, [])
    middle = math.inf if together.median is None else together.median
    worst = [_worst(one, together.shape) for one in together.worst]
    return Radii(rows, together.rows, together.right, middle if together.right else None, drawing, together, worst)


def _worst(row: WorstView, shape: list[int]) -> WorstRow:
    near = f"Row {row.index}, predicted as {row.prediction}."
    far = f"The nearest input found that is predicted as {row.prediction_there}."
    return WorstRow(row, image_figure(row.input, shape, near), image_figure(row.adversarial, shape, far))
