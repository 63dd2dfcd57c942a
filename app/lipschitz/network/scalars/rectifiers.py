"""Piecewise linear functions and hard swish: exact knots, slopes that are stored numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..arithmetic import Interval, choose
from ..scalar import ONE, ZERO, Knot, PiecewiseMonotone, Place, Turn

AT_ZERO = Place(0.0)
SIXTH = Interval.near(1 / 6)


def identity() -> PiecewiseMonotone:
    return PiecewiseMonotone(lambda x: x, Interval.point, lambda x: _everywhere(1.0, x), (), (ONE, ONE), linear=True)


def constant(number: float) -> PiecewiseMonotone:
    return PiecewiseMonotone(
        lambda x: torch.full_like(x, number), lambda x: _everywhere(number, x), lambda x: _everywhere(0.0, x),
        linear=True,
    )  # fmt: skip


def _everywhere(number: float, x: Tensor) -> Interval:
    return Interval.point(torch.full_like(x, number))


def relu() -> PiecewiseMonotone:
    """max(x, 0)."""
    return clip(Place(0.0), None, torch.relu)


def clip(low: Place | None, high: Place | None, function: Callable[[Tensor], Tensor]) -> PiecewiseMonotone:
    """min(max(x, a), b): constant outside [a, b], the identity inside; with a > b the constant b."""
    below = -math.inf if low is None else low.at
    above = math.inf if high is None else high.at

    def value(x: Tensor) -> Interval:
        clipped = Interval.point(x)
        if low is not None:
            clipped = _extreme(torch.maximum, clipped, _enclosure(low))
        return clipped if high is None else _extreme(torch.minimum, clipped, _enclosure(high))

    def derivative(x: Tensor) -> Interval:
        return choose((x > below) & (x < above), ONE, ZERO)

    knots = (() if low is None else (Knot(low, ZERO, ONE),)) + (() if high is None else (Knot(high, ONE, ZERO),))
    limits = (ONE if low is None else ZERO, ONE if high is None else ZERO)
    known = all(end is None or end.is_exact for end in (low, high))
    exact = known and bool(torch.as_tensor(below < above).all())
    return PiecewiseMonotone(function, value, derivative, knots, limits, linear=exact)


def _enclosure(place: Place) -> Interval:
    number = Interval.point(place.at)
    return number if place.is_exact else number + Interval.of(-place.radius, place.radius)


def _extreme(choose_end: Callable[[Tensor, Tensor], Tensor], x: Interval, y: Interval) -> Interval:
    return Interval(choose_end(x.lower, y.lower.to(x.lower.device)), choose_end(x.upper, y.upper.to(x.upper.device)))


def leaky(below: Place) -> PiecewiseMonotone:
    """x above zero, a x below, for one slope a or one an entry."""
    slope = _enclosure(below)

    def function(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, torch.as_tensor(below.at, dtype=x.dtype, device=x.device) * x)

    return PiecewiseMonotone(
        function,
        lambda x: choose(x > 0, Interval.point(x), slope * x),
        lambda x: choose(x > 0, ONE, slope),
        (Knot(AT_ZERO, slope, ONE),),
        (slope, ONE),
        (Turn(AT_ZERO, ZERO),),
        linear=below.is_exact,
    )


def absolute() -> PiecewiseMonotone:
    """|x|."""
    minus = -ONE
    return PiecewiseMonotone(
        torch.abs,
        lambda x: Interval.point(x.abs()),
        lambda x: choose(x > 0, ONE, minus),
        (Knot(AT_ZERO, minus, ONE),),
        (minus, ONE),
        (Turn(AT_ZERO, ZERO),),
        linear=True,
    )


def soft_shrink(width: float) -> PiecewiseMonotone:
    """Zero within [-w, w], slope 1 outside; w >= 0."""

    def value(x: Tensor) -> Interval:
        size = _extreme(torch.maximum, Interval.point(x.abs()) - width, ZERO)
        return choose(x.abs() > width, choose(x > 0, size, -size), ZERO)

    return PiecewiseMonotone(
        lambda x: torch.nn.functional.softshrink(x, width),
        value,
        lambda x: choose(x.abs() > width, ONE, ZERO),
        (Knot(Place(-width), ONE, ZERO), Knot(Place(width), ZERO, ONE)),
        (ONE, ONE),
        linear=width > 0,
    )


def hard_sigmoid() -> PiecewiseMonotone:
    """(x + 3)/6, cut at 0 and 1: torch's own derivative has a float32 1/6."""
    return PiecewiseMonotone(
        lambda x: (x + 3).clamp(0, 6) / 6,
        lambda x: ((Interval.point(x) + 3.0).within(0.0, 6.0) / 6.0).within(0.0, 1.0),
        lambda x: choose((x > -3) & (x < 3), SIXTH, ZERO),
        (Knot(Place(-3.0), ZERO, SIXTH), Knot(Place(3.0), SIXTH, ZERO)),
    )


def hard_swish() -> PiecewiseMonotone:
    """x min(max(x + 3, 0), 6)/6: slope x/3 + 1/2 between -3 and 3, least value -3/8 at -3/2."""
    steep = Interval.point(1.5)

    def derivative(x: Tensor) -> Interval:
        inside = (Interval.point(x) * 2.0 + 3.0) / 6.0
        return choose(x <= -3, ZERO, choose(x >= 3, ONE, inside))

    return PiecewiseMonotone(
        lambda x: x * (x + 3).clamp(0, 6) / 6,
        lambda x: choose(
            x >= 3, Interval.point(x), choose(x <= -3, ZERO, (Interval.point(x) + 3.0).within(0.0, 6.0) * x / 6.0)
        ),
        derivative,
        (Knot(Place(-3.0), ZERO, Interval.point(-0.5)), Knot(Place(3.0), steep, ONE)),
        (ZERO, ONE),
        (Turn(Place(-3.0), ZERO), Turn(Place(-1.5), Interval.point(-0.375))),
    )
