"""How the bounds of an anytime method came together over time."""

from __future__ import annotations

from typing import Any

from ..palette import light
from .scales import NARROW, Spec, log_axis, log_scale, on_axis

Trail = list[tuple[float, float | None, float | None]]
"""Seconds, the least upper bound and the greatest lower bound known then."""
ENDS = ("upper bound", "lower bound")
HEIGHT = 200
LEAST_SPAN = 0.002
"""Decades that the axis spans at least: much happens in the last per cent."""
LEGEND = {"symbolType": "stroke", "symbolSize": 500, "symbolStrokeWidth": 2}


def convergence_chart(trail: Trail, width: int) -> Spec | None:
    """Two steps over time, told apart by colour, dash and name; None where fewer than two times are known."""
    known = [
        (at, end, value) for at, *values in trail for end, value in zip(ENDS, values, strict=True) if on_axis(value)
    ]
    if len({at for at, _, _ in known}) < 2:
        return None
    points = [{"at": at, "end": end, "value": value} for at, end, value in known]
    scale = log_scale([value for _, _, value in known if value is not None], least=LEAST_SPAN)
    axis = log_axis(scale, 5, title="constant (log scale)")
    encoding = {
        "x": {"field": "at", "type": "quantitative", "axis": _time_axis(width), "scale": {"nice": False}},
        "y": {"field": "value", "type": "quantitative", "scale": scale, "axis": axis},
    }
    line = {"type": "line", "interpolate": "step-after", "strokeWidth": 2}
    dots = {"type": "point", "filled": True, "size": 28, "opacity": 1}
    told_apart = _styles_of_ends()
    layer = [{"mark": line, "encoding": told_apart}, {"mark": dots, "encoding": {"color": told_apart["color"]}}]
    return {"width": width, "height": HEIGHT, "data": {"values": points}, "encoding": encoding, "layer": layer}


def _time_axis(width: int) -> Spec:
    return {"title": "seconds", "tickCount": 4 if width < NARROW else 8, "grid": False}


def _styles_of_ends() -> Spec:
    def by(values: list[Any]) -> Spec:
        scale = {"domain": list(ENDS), "range": values}
        return {"field": "end", "type": "nominal", "scale": scale, "legend": LEGEND}

    return {"color": by([light("upper"), light("lower")]), "strokeDash": by([[1, 0], [6, 3]])}
