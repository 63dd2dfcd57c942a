"""A report's charts, each drawn for a wide and for a narrow screen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate

from markupsafe import Markup

from ..contract.progress import Progress
from ..contract.question import Gate
from ..contract.radii import RadiiView, SampleView
from ..contract.result import LayerView, ResultView, SensitivitiesView
from . import text, words
from .charts.bracket import bracket_chart
from .charts.convergence import Trail, convergence_chart
from .charts.draw import drawn
from .charts.images import image_chart, pixels
from .charts.layers import factor_of, growth_chart, hot_spots, share_chart
from .charts.radii import radius_chart, survival
from .charts.scales import Spec
from .charts.sensitivities import image_of, picture_chart, ranking_chart
from .limits import is_right, reach

Events = list[tuple[datetime, Progress]]
"""Reports of progress, oldest first."""
WIDE, NARROW = 760, 290
"""Widths in pixels: for a page of reading width, and for a phone of 320 pixels."""


@dataclass(frozen=True)
class Figure:
    """One chart; the description says in words what there is to see."""

    wide: Markup
    narrow: Markup
    description: str


def figure(chart: Callable[[int], Spec | None], description: str) -> Figure | None:
    """A chart drawn at both widths, None where there is nothing to draw."""
    specs = [chart(WIDE), chart(NARROW)]
    wide, narrow = (None if spec is None else drawn(spec) for spec in specs)
    return None if wide is None or narrow is None else Figure(wide, narrow, description)


def bracket_figure(gate: Gate | None, result: ResultView) -> Figure | None:
    """Every method's value."""
    limit = None if gate is None else gate.max_upper
    description = f"Bounds by method on a logarithmic axis: {words.interval(result) or 'no bracket'}."
    return figure(lambda width: bracket_chart(result, limit, width), description)


def share_figure(layers: list[LayerView]) -> Figure | None:
    """The layers that count most."""
    spots = "; ".join(f"{text.plain(at.name)} {factor_of(at)}, {text.percent(at.share)}" for at in hot_spots(layers, 3))
    return figure(lambda width: share_chart(layers, width), f"Bars of the layers' shares, largest first: {spots}.")


def growth_figure(layers: list[LayerView]) -> Figure | None:
    """The constant along the network."""
    ends = " to ".join(text.upper(layers[at].cumulative, 3) for at in (0, -1)) if layers else ""
    description = f"The bound after each of {len(layers)} layers, from {ends}."
    return figure(lambda width: growth_chart(layers, width), description)


def convergence_figures(
    result: ResultView | None, events: Events, started_at: datetime | None
) -> Iterator[tuple[str, Figure]]:
    """The methods' own records of their bounds over time, else what was reported while the job ran."""
    estimates = [] if result is None else result.estimates
    kept: dict[str, Trail] = {one.method: one.details.trail for one in estimates if one.details.trail}
    if not kept and started_at is not None:
        kept = {"all methods": reported(events, started_at)}
    for method, trail in kept.items():
        drawing = figure(lambda width, trail=trail: convergence_chart(trail, width), _description(trail))  # type: ignore[misc]
        if drawing is not None:
            yield method, drawing


def reported(events: Events, started_at: datetime) -> Trail:
    """The best bounds known at each report of both; an upper bound alone may be that of a piece of the network."""
    bounds = [(at, one.upper, one.lower) for at, one in events if one.upper is not None and one.lower is not None]
    uppers = accumulate((upper for _, upper, _ in bounds), min)
    lowers = accumulate((lower for *_, lower in bounds), max)
    times = [(at - started_at).total_seconds() for at, *_ in bounds]
    return list(zip(times, uppers, lowers, strict=True))


def radius_figure(gate: Gate | None, samples: list[SampleView], together: RadiiView | None = None) -> Figure | None:
    """The share of samples certified up to each radius, and that which an attack leaves."""
    share, radius = (None, None) if gate is None else (gate.min_certified_share, gate.radius)
    asked = None if share is None or radius is None else (radius, share)
    reaches = [reach(one) for one in samples if is_right(one)]
    description = "The share of samples that are rightly predicted and certified, falling as the radius grows."
    if together is None:
        return figure(lambda width: radius_chart(survival(reaches, len(samples)), [], asked, width), description)
    description += " A dashed line above it: what no method can certify more of, since inputs that change were found."
    return figure(lambda width: radius_chart(together.certified, together.ceiling, asked, width), description)


def image_figure(values: Sequence[float] | None, shape: Sequence[int], description: str) -> Figure | None:
    """A row as a picture; None where it is none."""
    grid = None if values is None else pixels(values, shape)
    return None if grid is None else figure(lambda _: image_chart(grid), description)


def sensitivity_figures(sensitivities: SensitivitiesView, shape: Sequence[int]) -> tuple[Figure | None, Figure | None]:
    """A picture over an input that is an image, and bars of the inputs that count most."""
    grid = image_of(sensitivities, shape)
    picture = "The bound of every pixel's derivatives, as a picture over the input."
    spots = "; ".join(f"{text.plain(one.name)} {text.upper(one.bound, 3)}" for one in sensitivities.ranking[:3])
    bars = f"Bars of the largest derivatives by input, certified and attained: {spots}."
    return (
        None if grid is None else figure(lambda width: picture_chart(grid, width), picture),
        figure(lambda width: ranking_chart(sensitivities.ranking, width), bars),
    )


def _description(trail: Trail) -> str:
    first, last = trail[:1], trail[-1:]
    ends = [f"{text.upper(high)} above and {text.lower(low)} below" for _, high, low in first + last]
    return f"Upper and lower bound over time: {', in the end '.join(ends)}."
