"""What the layers contribute: the bound's growth along the network, and the layers that count most."""

from __future__ import annotations

from ...contract.result import LayerView
from .. import text
from ..palette import light
from .scales import NARROW, Spec, counts, log_axis, log_scale, name_axis, name_length, on_axis

MOST_BARS = 12
NAMED = 5
"""Hot spots with a name in the chart of growth."""
BAR, HEIGHT = 24, 190


def shrinks(layer: LayerView) -> bool:
    """Whether the layer makes the bound smaller."""
    return layer.factor is not None and layer.factor < 1


def hot_spots(layers: list[LayerView], most: int = MOST_BARS) -> list[LayerView]:
    """The layers with the largest shares of what all do to the bound, in either direction, largest first."""
    return sorted(filter(share_of, layers), key=share_of, reverse=True)[:most]


def share_of(layer: LayerView) -> float:
    """What the layer contributes, 0 where that is not known."""
    return layer.share or 0.0


def factor_of(layer: LayerView) -> str:
    """What the layer multiplies the bound by, in words."""
    return f"× {text.upper(layer.factor, 3)}"


def share_chart(layers: list[LayerView], width: int) -> Spec | None:
    """Bars of the hot spots; None where no layer has a share."""
    spots = hot_spots(layers)
    if not spots:
        return None
    bars: list[Spec] = [
        {"layer": f"{spot.index} · {text.shortened(spot.name, name_length(width) - 6)}"}
        | {"share": -share_of(spot) if shrinks(spot) else share_of(spot), "label": factor_of(spot)}
        for spot in spots
    ]
    y = {"field": "layer", "type": "nominal", "sort": None, "axis": name_axis(bar["layer"] for bar in bars)}
    x = {"field": "share", "type": "quantitative", "scale": _room(bars, 0.4 if width < NARROW else 0.16)}
    x["axis"] = {"format": "%", "title": "share; to the left: makes the bound smaller", "tickCount": 5}
    color = {"condition": {"test": "datum.share < 0", "value": light("cool")}, "value": light("heat")}
    layer = [
        {"mark": {"type": "bar", "height": 13}, "encoding": {"color": color}},
        _bar_labels(),
    ]
    return {
        "width": width,
        "height": {"step": BAR},
        "data": {"values": bars},
        "encoding": {"x": x, "y": y},
        "layer": layer,
    }


def _room(bars: list[Spec], share: float) -> Spec:
    """From the least to the largest share, with space for the labels at the bars' ends."""
    low, high = min(0.0, *(bar["share"] for bar in bars)), max(0.0, *(bar["share"] for bar in bars))
    space = share * (high - low)
    return {"domain": [low - space if low < 0 else 0.0, high + space], "nice": False}


def _bar_labels() -> Spec:
    mark = {
        "type": "text",
        "align": {"expr": "datum.share < 0 ? 'right' : 'left'"},
        "dx": {"expr": "datum.share < 0 ? -5 : 5"},
    }
    return {"mark": mark, "encoding": {"text": {"field": "label", "type": "nominal"}}}


def growth_chart(layers: list[LayerView], width: int) -> Spec | None:
    """The constant after every layer, those that raise it most marked and named; None for fewer than three."""
    values = ((at.index, at.cumulative) for at in layers)
    points: list[Spec] = [{"index": index, "value": value} for index, value in values if on_axis(value)]
    if len(points) < 3:
        return None
    scale = log_scale([float(point["value"]) for point in points])
    axis = log_axis(scale, 5, title="bound (log scale)")
    encoding = {
        "x": {
            "field": "index",
            "type": "quantitative",
            "axis": _index_axis(points[-1]["index"], width),
            "scale": {"nice": False},
        },
        "y": {"field": "value", "type": "quantitative", "scale": scale, "axis": axis},
    }
    line = {"mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 2, "color": light("upper")}}
    layer = [line, *_spots(layers, width)]
    return {"width": width, "height": HEIGHT, "data": {"values": points}, "encoding": encoding, "layer": layer}


def _index_axis(last: int, width: int) -> Spec:
    return {"title": "layer", "grid": False, "format": "d", "values": counts(last, 5 if width < NARROW else 12)}


def _spots(layers: list[LayerView], width: int) -> list[Spec]:
    spots = [
        {"index": spot.index, "value": spot.cumulative, "name": text.shortened(spot.name, 14)}
        for spot in [spot for spot in hot_spots(layers, len(layers)) if not shrinks(spot)][:NAMED]
        if on_axis(spot.cumulative)
    ]
    if not spots:
        return []
    dots = {"type": "point", "filled": True, "size": 70, "color": light("heat"), "opacity": 1}
    layer: list[Spec] = [{"data": {"values": spots}, "mark": dots}]
    if width >= NARROW and len(layers) <= MOST_BARS:
        is_early = f"datum.index < {len(layers) / 2}"
        place = {"align": {"expr": f"{is_early} ? 'left' : 'right'"}, "dx": {"expr": f"{is_early} ? 7 : -7"}}
        names = {"type": "text", "dy": -8, "fontSize": 11} | place
        layer.append(
            {"data": {"values": spots}, "mark": names, "encoding": {"text": {"field": "name", "type": "nominal"}}}
        )
    return layer
