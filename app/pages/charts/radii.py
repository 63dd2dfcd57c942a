"""The share of samples that keep their prediction within a radius."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..palette import light
from .scales import NARROW, Spec

HEIGHT = 200
Steps = Sequence[tuple[float, float]]
"""Radii with the share from each on."""
MOST_STEPS = 400
"""A curve of more samples than this is thinned; its ends stay."""


def survival(radii: Sequence[float], total: int) -> list[tuple[float, float]]:
    """Steps `(radius, share of `total` certified up to it)`, downwards; infinite radii never leave."""
    finite = sorted(radius for radius in radii if radius != float("inf"))
    steps = [(0.0, len(radii) / total)]
    steps += [(radius, (len(radii) - k) / total) for k, radius in enumerate(finite, 1)]
    every = max(1, len(steps) // MOST_STEPS)
    thinned = [step for k, step in enumerate(steps) if k % every == 0 or k == len(steps) - 1]
    return thinned if len(thinned) > 1 else [*thinned, (1.0, steps[0][1])]


def radius_chart(certified: Steps, ceiling: Steps, gate: tuple[float, float] | None, width: int) -> Spec | None:
    """The certified accuracy over the radius, what an attack leaves of it, and what a gate asks for."""
    if not certified or not certified[0][1]:
        return None
    ends = [steps[-1][0] for steps in (certified, ceiling) if steps]
    last = max([*ends, *([] if gate is None else [1.1 * gate[0]])]) or 1.0
    encoding = {
        "x": {
            "field": "radius",
            "type": "quantitative",
            "axis": _axis("radius", width),
            "scale": {"domain": [0, last]},
        },
        "y": {"field": "share", "type": "quantitative", "scale": {"domain": [0, 1]}}
        | {"axis": _axis("certified samples", NARROW, format="%")},
    }
    line = {"interpolate": "step-after", "strokeWidth": 2}
    layer: list[Spec] = [
        {"mark": {"type": "area", "color": light("band"), "opacity": 1} | line | {"strokeWidth": 0}},
        {"mark": {"type": "line", "color": light("upper")} | line},
    ]
    if ceiling:
        dashed = {"type": "line", "color": light("lower"), "strokeDash": [5, 4]} | line
        layer.append({"data": {"values": _points(ceiling, last)}, "mark": dashed})
    points = _points(certified, last)
    spec: Spec = {"width": width, "height": HEIGHT, "data": {"values": points}, "encoding": encoding, "layer": layer}
    return spec if gate is None else spec | {"layer": layer + _asked(*gate)}


def _points(steps: Steps, last: float) -> list[Spec]:
    """With a last point at the end of the axis."""
    return [{"radius": radius, "share": share} for radius, share in [*steps, (last, steps[-1][1])]]


def _axis(title: str, width: int, **more: Any) -> Spec:
    return {"title": title, "tickCount": 5 if width <= NARROW else 8} | more


def _asked(radius: float, share: float) -> list[Spec]:
    point = {"values": [{"radius": radius, "share": share, "name": "gate"}]}
    cross = {"type": "point", "shape": "cross", "size": 90, "filled": True, "color": light("bad"), "opacity": 1}
    name = {"type": "text", "dx": 8, "dy": -8, "align": "left", "color": light("bad"), "fontWeight": 600}
    named = {"text": {"field": "name", "type": "nominal"}}
    return [{"data": point, "mark": cross}, {"data": point, "mark": name, "encoding": named}]
