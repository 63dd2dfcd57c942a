"""Logarithmic axes for values that may span one per mille or three hundred decades."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, TypeGuard

from ..palette import light

Spec = dict[str, Any]
"""A piece of a Vega-Lite document."""

MARGIN = 0.06
"""Share of the axis that is left free at each end."""
LEAST_SPAN = math.log10(1.5)
"""An axis spans at least this many decades, so that a closed bracket does not look open."""
TINY, HUGE = 1e-250, 1e250
"""What is beyond has no place on an axis, whose ends must be numbers too."""
NARROW = 480
"""Charts narrower than this have less space for ticks and names, in pixels."""
CHARACTER = 7.3
"""Width of a character in the widest of the usual fonts, in pixels; the reader's is not known here."""
TICK_LABEL = "abs(log(datum.value)) > 11.6 ? format(datum.value, '.0e') : format(datum.value, '~g')"
"""Powers of ten from 1e6 on, and up to 1e-6, are written as such."""


def on_axis(value: float | None) -> TypeGuard[float]:
    """Whether a logarithmic axis can show the value."""
    return value is not None and TINY < value < HUGE


def log_scale(values: Iterable[float], least: float = LEAST_SPAN) -> Spec:
    """A scale around the values, of `least` decades or more."""
    logs = [math.log10(value) for value in values]
    middle, half = (max(logs) + min(logs)) / 2, max(max(logs) - min(logs), least) / 2
    reach = half * (1 + 2 * MARGIN)
    return {"type": "log", "domain": [10 ** (middle - reach), 10 ** (middle + reach)], "nice": False}


def log_axis(scale: Spec, most: int, **more: Any) -> Spec:
    """An axis with round ticks: decades where there are several, else 1-2-5 steps."""
    low, high = scale["domain"]
    return {"values": ticks(low, high, most), "labelExpr": TICK_LABEL, "labelOverlap": True} | more


def name_length(width: int) -> int:
    """Characters of a name that a chart of that width has space for."""
    return 15 if width < NARROW else 26


def name_axis(names: Iterable[str], **more: Any) -> Spec:
    """The axis of names, wide enough for each of them."""
    extent = round(CHARACTER * max(map(len, names)))
    plain = {"title": None, "ticks": False, "domain": False, "labelPadding": 7, "labelLimit": 0}
    return plain | {"labelColor": light("ink"), "minExtent": extent} | more


def ticks(low: float, high: float, most: int) -> list[float]:
    """At most about `most` round numbers between the limits."""
    decades = math.log10(high) - math.log10(low)
    if decades < 1.2:
        return _even(low, high, most)
    every = max(1, math.ceil(decades / most))
    powers = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
    steps = (1, 2, 5) if 3 * decades <= most else (1,)
    candidates = [step * 10.0**power for power in range(powers.start - 1, powers.stop) for step in steps]
    if len(steps) == 1:
        candidates = [10.0**power for power in powers if power % every == 0]
    return [value for value in candidates if low <= value <= high]


def counts(last: int, most: int) -> list[int]:
    """Whole numbers from 0 to `last` at a round distance, about `most` at most: a half would be shown as one."""
    distances = (factor * 10**power for power in range(12) for factor in (1, 2, 5))
    every = next(distance for distance in distances if last <= distance * most)
    return list(range(0, last + 1, every))


def _even(low: float, high: float, most: int) -> list[float]:
    rough = (high - low) / most
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [float(f"{k * step:.6g}") for k in range(first, last + 1)]
