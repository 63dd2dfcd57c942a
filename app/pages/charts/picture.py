"""The picture of a job: the bracket alone, for a README or a pull request."""

from __future__ import annotations

from ...contract.result import ResultView
from .. import text
from ..palette import light
from .bracket import bracket_chart
from .scales import Spec

WIDTH = 640
TITLE_LENGTH = 56


def picture(name: str, lines: list[str], result: ResultView | None, gate: float | None) -> Spec:
    """The bracket under the model's name and some lines; without a bracket the lines alone."""
    chart = bracket_chart(result, gate, WIDTH, legend=True) if result else None
    title = {
        "text": text.shortened(name, TITLE_LENGTH),
        "subtitle": [text.shortened(line, 100) for line in lines],
        "anchor": "start",
        "frame": "group",
        "fontSize": 16,
        "color": light("ink"),
        "subtitleFontSize": 13,
        "subtitleColor": light("muted"),
        "subtitlePadding": 6,
        "offset": 16,
    }
    return (chart or _nothing()) | {"title": title, "background": light("panel"), "padding": 16}


def _nothing() -> Spec:
    return {
        "width": WIDTH,
        "height": 8,
        "data": {"values": [{}]},
        "mark": {"type": "rule", "color": light("line")},
        "encoding": {},
    }
