"""A model's bracket from version to version."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ...contract.series import VersionView
from ..palette import light
from ..text import shortened
from .convergence import ENDS, HEIGHT, LEGEND
from .scales import NARROW, Spec, log_axis, log_scale, name_length, on_axis


def timeline_chart(versions: Sequence[VersionView], width: int) -> Spec | None:
    """Both ends of the bracket over the versions, oldest first; None without a number."""
    ends = [(k, end, value) for k, one in enumerate(versions)
            for end, value in zip(ENDS, (one.upper, one.lower), strict=True) if on_axis(value)]  # fmt: skip
    if not ends:
        return None
    points = [{"at": k, "end": end, "value": value} for k, end, value in ends]
    scale = log_scale([value for _, _, value in ends if value is not None])
    encoding = {
        "x": {"field": "at", "type": "ordinal", "axis": _axis_of([one.version for one in versions], width)},
        "y": {"field": "value", "type": "quantitative", "scale": scale}
        | {"axis": log_axis(scale, 5, title="constant (log scale)")},
        "color": _by([light("upper"), light("lower")]),
    }
    line = {"mark": {"type": "line", "strokeWidth": 2}, "encoding": {"strokeDash": _by([[1, 0], [6, 3]])}}
    dots = {"mark": {"type": "point", "filled": True, "size": 28, "opacity": 1}}
    return {"width": width, "height": HEIGHT, "data": {"values": points}, "encoding": encoding, "layer": [line, dots]}


def _axis_of(names: list[str], width: int) -> Spec:
    """Names of as many versions as have space, the last among them."""
    every = -(-len(names) // (6 if width <= NARROW else 16))
    shown = [k for k in range(len(names)) if (len(names) - 1 - k) % every == 0]
    labels = {str(k): shortened(names[k], name_length(width)) for k in shown}
    told = f"{json.dumps(labels)}[datum.value]"  # a string in Vega's expressions is one in JSON
    return {"title": "version", "values": shown, "labelExpr": told, "labelAngle": -35, "labelOverlap": False}


def _by(values: list[Any]) -> Spec:
    scale = {"domain": list(ENDS), "range": values}
    return {"field": "end", "type": "nominal", "scale": scale, "legend": LEGEND}
