"""Small pictures of a data set's rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..palette import light
from .scales import Spec

SIDE = 84
"""Pixels of the page."""
MOST_CELLS = 32
LEVELS = 24
"""Of gray: neighbours of the same are one rectangle."""

Grid = list[list[float]]


def pixels(values: Sequence[float], shape: Sequence[int]) -> Grid | None:
    """A row as a picture, the mean of its channels, dark to light from 0 to 1; None where it is no image."""
    sizes = [size for size in shape if size > 1]
    height, width = shape[-2:] if len(shape) >= 2 else (0, 0)
    if len(sizes) == 1:
        height = width = math.isqrt(len(values))
    if (
        len(sizes) > 3
        or min(height, width) < 4
        or len(values) % (height * width)
        or len(values) // (height * width) > 4
    ):
        return None
    step, channels = -(-max(height, width) // MOST_CELLS), len(values) // (height * width)
    at = [[0.0] * (-(-width // step)) for _ in range(-(-height // step))]
    count = channels * step * step
    for place, value in enumerate(values):
        row, column = divmod(place % (height * width), width)
        at[row // step][column // step] += value / count
    least, most = min(map(min, at)), max(map(max, at))
    return [[(value - least) / ((most - least) or 1.0) for value in row] for row in at]


def image_chart(grid: Grid) -> Spec:
    """Runs of one gray a row; black is the paper's colour, so that it fits light and dark pages."""
    runs = []
    for row, cells in enumerate(grid):
        begun = 0
        levels = [round(cell * LEVELS) for cell in cells]
        for column in range(1, len(levels) + 1):
            if column == len(levels) or levels[column] != levels[begun]:
                if levels[begun]:
                    runs.append({"y": row, "y2": row + 1, "x": begun, "x2": column, "value": levels[begun] / LEVELS})
                begun = column
    height, width = len(grid), len(grid[0])

    def ends(size: int) -> Spec:
        return {"type": "quantitative", "axis": None, "scale": {"domain": [0, size], "nice": False}}

    encoding = {
        "x": {"field": "x"} | ends(width),
        "x2": {"field": "x2"},
        "y": {"field": "y"} | ends(height) | {"scale": {"domain": [height, 0], "nice": False}},
        "y2": {"field": "y2"},
        "opacity": {
            "field": "value",
            "type": "quantitative",
            "legend": None,
            "scale": {"domain": [0, 1], "range": [0, 1]},
        },
    }
    return {
        "width": SIDE,
        "height": round(SIDE * height / width),
        "view": {"fill": light("panel"), "stroke": light("line")},
        "data": {"values": runs},
        "mark": {"type": "rect", "color": light("ink")},
        "encoding": encoding,
    }
