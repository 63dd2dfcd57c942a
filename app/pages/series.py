"""The page of a series: the timeline, and two versions side by side."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log

from ..contract.domain import Document
from ..contract.question import Question
from ..contract.series import SeriesQuestion, SeriesView, VersionView
from ..contract.stored import readable
from . import text, words
from .charts.timeline import timeline_chart
from .figures import Figure, figure

MOST_MOVED = 30
"""Layers that are shown side by side, those that moved most."""


@dataclass(frozen=True)
class LayerPair:
    """A layer in two versions; None where a version has none of that name."""

    name: str
    before: float | None
    after: float | None

    @property
    def factor(self) -> float | None:
        """By which its norm changed."""
        return ratio(self.before, self.after)

    @property
    def moved(self) -> float:
        """How much it changed, whichever way."""
        return inf if not self.factor else abs(log(self.factor))


@dataclass(frozen=True)
class SeriesPage:
    """What the template shows."""

    series: SeriesView
    timeline: Figure | None
    before: VersionView | None
    after: VersionView | None
    layers: list[LayerPair]

    @property
    def questions(self) -> list[tuple[SeriesQuestion, str]]:
        """What was asked, in words."""
        return [(one, question(one.asked)) for one in self.series.questions]

    @property
    def growth(self) -> float | None:
        """By which the upper bound changed."""
        return None if self.before is None or self.after is None else ratio(self.before.upper, self.after.upper)


def ratio(before: float | None, after: float | None) -> float | None:
    """None where either is missing, or the first is 0."""
    return after / before if before and after is not None else None


def page_of(series: SeriesView, before: str | None = None, after: str | None = None) -> SeriesPage:
    """The versions named `before` and `after` are compared; without, the last two with numbers."""
    answered = [version for version in series.versions if version.answered_at is not None]
    by_name = {version.version: version for version in series.versions}
    last = by_name.get(after or "") or (answered[-1] if answered else None)
    earlier = [version for version in answered if version is not last]
    first = by_name.get(before or "") or (earlier[-1] if earlier else None)
    pairs = layer_pairs(first, last) if first and last else []
    ends = [text.upper(version.upper) for version in (answered[:1] + answered[-1:])]
    described = f"The bracket of {len(series.versions)} versions; the upper bound goes from {' to '.join(ends)}."
    timeline = figure(lambda width: timeline_chart(series.versions, width), described)
    return SeriesPage(series, timeline, first, last, pairs)


def layer_pairs(before: VersionView, after: VersionView) -> list[LayerPair]:
    """The layers of both by name, those that moved most first."""
    one, other = ({layer.name: layer.norm for layer in version.layers} for version in (before, after))
    pairs = [LayerPair(name, one.get(name), other.get(name)) for name in dict.fromkeys([*one, *other])]
    return sorted(pairs, key=lambda pair: -pair.moved)[:MOST_MOVED]


def question(fields: Document) -> str:
    """What the answers of a series are about, of its stored fields."""
    of = readable(Question, fields)
    rows = f", data set {of.dataset[:12]}" if of.dataset else ""
    ends = "".join(f", {name} {fields[name]}" for name in ("input", "output") if name in fields)
    return f"{words.question(of)}{ends}{rows}{', with radii' if of.certify else ''}"
