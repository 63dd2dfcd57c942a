"""The bracket: every method on one logarithmic axis, and between the best two the place of the constant."""

from __future__ import annotations

import math

from ...contract.result import ResultView
from .. import text
from ..palette import light
from .scales import NARROW, Spec, log_axis, log_scale, name_axis, name_length, on_axis

UPPER, LOWER, ESTIMATE = "certified upper bound", "witnessed lower bound", "estimate, no bound"
MEANINGS = {"upper": UPPER, "lower": LOWER, "estimate": ESTIMATE}
SHAPES = {UPPER: "triangle-left", LOWER: "triangle-right", ESTIMATE: "circle"}
ROW = 30


def bracket_chart(result: ResultView, gate: float | None, width: int, *, legend: bool = False) -> Spec | None:
    """The chart of a result in the contract's form, `width` pixels wide; None where no value can be shown."""
    points = bracket_points(result, name_length(width))
    if not points:
        return None
    limits = [gate] if gate is not None and on_axis(gate) else []
    ends = [end for end in result.ends if on_axis(end)]
    scale = log_scale([*(point["value"] for point in points), *limits, *ends])
    x = {"field": "value", "type": "quantitative", "scale": scale}
    x |= {"axis": log_axis(scale, 5 if width < NARROW else 9, title="Lipschitz constant (logarithmic)")}
    layers = [*_band(result, scale), *_gate(limits), _marks(points, x, legend), *_labels(points, scale)]
    return {"width": width, "height": {"step": ROW}, "data": {"values": points}, "layer": layers}


def bracket_points(result: ResultView, length: int) -> list[Spec]:
    """Upper bounds from the loosest to the tightest, estimates, lower bounds; names of at most `length` characters."""
    kinds = list(MEANINGS)
    values = ((e, e.value) for e in result.estimates if e.status == "ok")
    shown = [(e, value) for e, value in values if on_axis(value)]
    shown.sort(key=lambda one: ((0, 2, 1)[kinds.index(one[0].kind)], -one[1]))
    points = [_point(e.method, e.kind, value, length) for e, value in shown]
    lower = result.lower
    if lower and on_axis(lower.value) and not any((e.kind, e.method) == ("lower", lower.method) for e, _ in shown):
        points.append(_point(f"{lower.method} witness", "lower", lower.value, length))
    return points


def _point(method: str, kind: str, value: float, length: int) -> Spec:
    label = text.bound(kind, value, 5)
    return {"method": text.shortened(method, length), "meaning": MEANINGS[kind], "value": value, "label": label}


def _band(result: ResultView, scale: Spec) -> list[Spec]:
    """Between the best lower and upper bound, or from the one that there is to the axis' end."""
    low, high = result.ends
    if not (on_axis(low) or on_axis(high)):
        return []
    span = {"low": low if on_axis(low) else scale["domain"][0], "high": high if on_axis(high) else scale["domain"][1]}
    place = {"x": {"field": "low", "type": "quantitative", "scale": scale}, "x2": {"field": "high"}}
    edges = [_rule(end, light(color), []) for end, color in ((low, "lower"), (high, "upper")) if on_axis(end)]
    return [{"data": {"values": [span]}, "mark": {"type": "rect", "color": light("band")}, "encoding": place}, *edges]


def _rule(value: float, color: str, dash: list[int]) -> Spec:
    mark = {"type": "rule", "color": color, "strokeDash": dash, "strokeWidth": 1.25}
    return {
        "data": {"values": [{"at": value}]},
        "mark": mark,
        "encoding": {"x": {"field": "at", "type": "quantitative"}},
    }


def _gate(limits: list[float]) -> list[Spec]:
    if not limits:
        return []
    name = {"type": "text", "align": "center", "baseline": "bottom", "y": -3, "color": light("bad"), "fontWeight": 600}
    place = {"x": {"field": "at", "type": "quantitative"}, "text": {"value": f"gate {text.number(limits[0], 5)}"}}
    label = {"data": {"values": [{"at": limits[0]}]}, "mark": name, "encoding": place}
    return [_rule(limits[0], light("bad"), [5, 3]), label]


def _marks(points: list[Spec], x: Spec, legend: bool) -> Spec:
    names = list(SHAPES)
    strokes = [light("upper"), light("lower"), light("estimate")]
    fills = [light("upper"), light("lower"), light("panel")]
    shown: Spec = {"symbolSize": 110} if legend else {}

    def by(values: list[str]) -> Spec:
        scale = {"domain": names, "range": values}
        return {"field": "meaning", "type": "nominal", "scale": scale, "legend": shown or None}

    axis = name_axis((point["method"] for point in points), grid=True)
    encoding = {
        "x": x,
        "y": {"field": "method", "type": "nominal", "sort": None, "axis": axis},
        "shape": by(list(SHAPES.values())),
        "fill": by(fills),
        "stroke": by(strokes),
    }
    return {"mark": {"type": "point", "size": 110, "strokeWidth": 1.75, "opacity": 1}, "encoding": encoding}


def _labels(points: list[Spec], scale: Spec) -> list[Spec]:
    """Each value beside its mark, on the side with more space, upon a margin that keeps lines away."""
    low, high = scale["domain"]
    middle = math.sqrt(low) * math.sqrt(high)
    left = [point for point in points if point["value"] <= middle]
    right = [point for point in points if point["value"] > middle]
    halo = {"stroke": light("panel"), "strokeWidth": 4}
    return [
        _texts(values, align, dx, style)
        for values, align, dx in ((left, "left", 11), (right, "right", -11))
        for style in (halo, {})
        if values
    ]


def _texts(points: list[Spec], align: str, dx: int, style: Spec) -> Spec:
    place = {
        "x": {"field": "value", "type": "quantitative"},
        "y": {"field": "method", "type": "nominal", "sort": None},
        "text": {"field": "label", "type": "nominal"},
    }
    return {"data": {"values": points}, "mark": {"type": "text", "align": align, "dx": dx} | style, "encoding": place}
