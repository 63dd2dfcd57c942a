"""Exponentials, and the units that are exponential below zero."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..arithmetic import Interval, choose
from ..scalar import ONE, ZERO, Knot, PiecewiseMonotone, Place, Turn
from .library import exp, monotone

AT_ZERO = Place(0.0)
INFINITE = Interval.point(math.inf)
LOG_2 = Interval.near(math.log(2.0))
LOG_10 = Interval.near(math.log(10.0))


def exponential(name: str, function: Callable[[Tensor], Tensor]) -> PiecewiseMonotone:
    """e^x, e^x - 1 and 2^x, called exp, expm1 and exp2: convex, unbounded slope."""

    def derivative(x: Tensor) -> Interval:
        return LOG_2 * monotone("exp2", Interval.point(x)) if name == "exp2" else exp(Interval.point(x))

    return PiecewiseMonotone(function, lambda x: monotone(name, Interval.point(x)), derivative, (), (ZERO, INFINITE))


def elu(alpha: float, scale: float, input_scale: float, function: Callable[[Tensor], Tensor]) -> PiecewiseMonotone:
    """scale x above zero, scale alpha (e^(input_scale x) - 1) below; SELU is of this form. input_scale > 0."""
    height = Interval.point(scale) * alpha

    def below(x: Tensor) -> Interval:
        return Interval.point(x.clamp(max=0.0)) * input_scale

    steepest, slope = height * input_scale, Interval.point(scale)
    return PiecewiseMonotone(
        function,
        lambda x: choose(x > 0, slope * x.clamp(min=0.0), height * monotone("expm1", below(x))),
        lambda x: choose(x > 0, slope, steepest * exp(below(x))),
        (Knot(AT_ZERO, steepest, slope),),
        (ZERO, slope),
        (Turn(AT_ZERO, ZERO),),
    )


def celu(alpha: float) -> PiecewiseMonotone:
    """alpha (e^(x/alpha) - 1) below zero, the identity above: slopes meet at 1. torch's own derivative takes 1/alpha
    in float32.
    """

    def below(x: Tensor) -> Interval:
        return Interval.point(x.clamp(max=0.0)) / alpha

    return PiecewiseMonotone(
        lambda x: torch.where(x > 0, x, alpha * torch.expm1(x.clamp(max=0.0) / alpha)),
        lambda x: choose(x > 0, Interval.point(x), monotone("expm1", below(x)) * alpha),
        lambda x: choose(x >= 0, ONE, exp(below(x)).within(0.0, 1.0)),
        (Knot(AT_ZERO, ONE),),
        (ZERO, ONE),
    )


def logarithm(name: str, function: Callable[[Tensor], Tensor]) -> PiecewiseMonotone:
    """log x, log2 x, log10 x and log(1 + x), called log, log2, log10 and log1p: steep without bound at the start."""
    base = {"log2": LOG_2, "log10": LOG_10}.get(name, ONE)

    def derivative(x: Tensor) -> Interval:
        point = Interval.point(x)
        return 1.0 / (base * (point + 1.0 if name == "log1p" else point))

    start = -1.0 if name == "log1p" else 0.0
    return PiecewiseMonotone(
        function,
        lambda x: monotone(name, Interval.point(x)),
        derivative,
        limits=(Interval.of(0.0, math.inf), ZERO),
        start=start,
    )
