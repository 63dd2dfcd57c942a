"""What each input does to the outputs: bars of the inputs that count most, and for images a picture over the input."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...contract.result import RankView, SensitivitiesView
from .. import text
from ..palette import light
from .scales import NARROW, Spec, name_axis, name_length

MOST_BARS = 16
BAR = 26
MOST_CELLS = 48
"""Of a picture's longer side: larger images show the largest of some neighbours."""

Grid = list[list[float]]
"""Values by row and column."""


def ranking_chart(ranking: Sequence[RankView], width: int) -> Spec | None:
    """Bars of the certified bounds, and of what points attain of them; None where there is none."""
    shown = [one for one in ranking if one.bound is not None][:MOST_BARS]
    if not any(one.bound for one in shown):
        return None
    bars = [
        {"input": text.shortened(text.plain(one.name), name_length(width)), "bound": one.bound}
        | {"attained": one.attained or 0.0, "label": text.upper(one.bound, 3), "place": place}
        for place, one in enumerate(shown)
    ]
    most = max(float(one.bound or 0.0) for one in shown)
    room = {"domain": [0.0, most * (1.25 if width < NARROW else 1.12)], "nice": False}
    x = {"type": "quantitative", "scale": room, "axis": {"title": "largest |∂ output / ∂ input|", "tickCount": 5}}
    names = [str(bar["input"]) for bar in bars]
    y: Spec = {"field": "input", "type": "nominal", "sort": {"field": "place"}, "axis": name_axis(names)}
    if len(set(names)) < len(names):  # long names that are the same once shortened
        y = {"field": "place", "type": "ordinal", "axis": name_axis(names, labelExpr="''")}
    layer: list[Spec] = [
        _bars("bound", x, light("band"), 17) | {"mark": _bar(17) | {"stroke": light("upper"), "color": light("band")}},
        _bars("attained", x, light("lower"), 9),
        {
            "mark": {"type": "text", "align": "left", "dx": 5},
            "encoding": {"x": x | {"field": "bound"}, "text": {"field": "label", "type": "nominal"}},
        },
    ]
    return {
        "width": width,
        "height": {"step": BAR},
        "data": {"values": bars},
        "encoding": {"y": y},
        "layer": layer,
    }


def _bar(height: int) -> Spec:
    return {"type": "bar", "height": height}


def _bars(field: str, x: Spec, color: str, height: int) -> Spec:
    return {"mark": _bar(height) | {"color": color}, "encoding": {"x": x | {"field": field}}}


def picture_chart(grid: Grid, width: int) -> Spec | None:
    """One cell a pixel, the darker the larger its bound; None where all are zero."""
    most = max((value for row in grid for value in row), default=0.0)
    if not 0.0 < most < math.inf:
        return None
    cells = [
        {"row": i, "column": j, "value": value} for i, row in enumerate(grid) for j, value in enumerate(row) if value
    ]
    side = min(width - 20, 420) / max(len(grid), len(grid[0]))
    encoding = {
        "x": {"field": "column", "type": "ordinal", "axis": None, "scale": _places(len(grid[0]))},
        "y": {"field": "row", "type": "ordinal", "axis": None, "scale": _places(len(grid))},
        "opacity": {"field": "value", "type": "quantitative", "legend": None}
        | {"scale": {"domain": [0, most], "range": [0.04, 1]}},
    }
    frame = {"fill": light("panel"), "stroke": light("line")}
    return {
        "width": round(side * len(grid[0])),
        "height": round(side * len(grid)),
        "view": frame,
        "data": {"values": cells},
        "mark": {"type": "rect", "color": light("heat")},
        "encoding": encoding,
    }


def _places(count: int) -> Spec:
    return {"domain": list(range(count)), "padding": 0.04}


def image_of(sensitivities: SensitivitiesView, shape: Sequence[int]) -> Grid | None:
    """The largest bound of every pixel over outputs and channels; None where the input is no image, or entries are
    left out.
    """
    sizes = [size for size in shape if size > 1]
    if sensitivities.lower is None or sensitivities.upper is None or not 2 <= len(sizes) <= 3 or min(shape[-2:]) < 4:
        return None
    height, width = shape[-2:]
    if math.prod(shape) != len(sensitivities.input_names):
        return None
    columns = [
        max(
            max(abs(low), abs(high)) if low is not None and high is not None else math.inf
            for low, high in zip(a, b, strict=True)
        )
        for a, b in zip(zip(*sensitivities.lower, strict=True), zip(*sensitivities.upper, strict=True), strict=True)
    ]
    step = -(-max(height, width) // MOST_CELLS)
    grid = [[0.0] * (-(-width // step)) for _ in range(-(-height // step))]
    for place, value in enumerate(columns):
        row, column = divmod(place % (height * width), width)
        grid[row // step][column // step] = max(grid[row // step][column // step], value)
    return grid
