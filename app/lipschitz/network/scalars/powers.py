"""Powers, roots and the reciprocal."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..arithmetic import Interval, choose
from ..scalar import EVERYTHING, ZERO, Knot, PiecewiseMonotone, Place, Turn
from . import library
from .rectifiers import constant, identity

AT_ZERO = Place(0.0)
MOST_EXACT = 2.0**52
"""Whole numbers up to here have neighbours that are doubles."""
POLE = Knot(AT_ZERO, EVERYTHING)
RISING, FALLING = Interval.of(0.0, math.inf), Interval.of(-math.inf, 0.0)
STEEP, STEEP_DOWN = Interval.point(math.inf), Interval.point(-math.inf)


def square() -> PiecewiseMonotone:
    """x^2, with derivative 2x."""
    return PiecewiseMonotone(
        torch.square,
        lambda x: Interval.point(x).square(),
        lambda x: Interval.point(x) * 2.0,
        (),
        (STEEP_DOWN, STEEP),
        (Turn(AT_ZERO, ZERO),),
    )


def reciprocal() -> PiecewiseMonotone:
    """1/x, with derivative -(1/x)^2; a pole at zero."""
    return PiecewiseMonotone(
        torch.reciprocal,
        lambda x: 1.0 / Interval.point(x),
        lambda x: -(1.0 / Interval.point(x)).square(),
        (POLE,),
        (ZERO, ZERO),
        (Turn(AT_ZERO, EVERYTHING),),
    )


def sqrt(function: Callable[[Tensor], Tensor]) -> PiecewiseMonotone:
    """Root of x, with derivative 1/(2 sqrt x)."""
    return _from_zero(function, lambda x: x.sqrt(), lambda x: 0.5 / x.sqrt(), (RISING, ZERO))


def rsqrt(function: Callable[[Tensor], Tensor]) -> PiecewiseMonotone:
    """1/sqrt x, with derivative -1/(2 x sqrt x)."""
    return _from_zero(function, lambda x: 1.0 / x.sqrt(), lambda x: -(0.5 / x.sqrt() / x), (FALLING, ZERO))


def _from_zero(
    function: Callable[[Tensor], Tensor],
    value: Callable[[Interval], Interval],
    derivative: Callable[[Interval], Interval],
    limits: tuple[Interval, Interval],
) -> PiecewiseMonotone:
    """Defined for positive x, with a monotone derivative; the first limit is its range, the second at infinity."""
    return PiecewiseMonotone(
        function,
        lambda x: value(Interval.point(x)),
        lambda x: derivative(Interval.point(x)),
        limits=limits,
        start=0.0,
    )


def power(exponent: float, function: Callable[[Tensor], Tensor]) -> PiecewiseMonotone:
    """x^a, with derivative a x^(a-1), monotone on either side of zero; a fraction needs positive x."""
    if exponent in (0.0, 1.0):
        return constant(1.0) if exponent == 0.0 else identity()
    if exponent == 2.0:
        return square()
    return _fraction(exponent, function) if exponent % 1 else _whole(exponent, function)


def _fraction(a: float, function: Callable[[Tensor], Tensor]) -> PiecewiseMonotone:
    less = Interval.point(a) - 1.0
    return _from_zero(
        function,
        lambda x: library.power(x, Interval.point(a)),
        lambda x: library.power(x, less) * a,
        (RISING if a > 0 else FALLING, STEEP if a > 1 else ZERO),
    )


def _whole(a: float, function: Callable[[Tensor], Tensor]) -> PiecewiseMonotone:
    less = Interval.point(a) - 1.0 if abs(a) > MOST_EXACT else Interval.point(a - 1.0)
    even = a % 2 == 0.0

    def value(x: Tensor) -> Interval:
        return _signed(x, library.power(Interval.point(x.abs()), Interval.point(a)), odd=not even)

    def derivative(x: Tensor) -> Interval:
        return _signed(x, library.power(Interval.point(x.abs()), less), odd=even) * a

    if a < 0:
        turn = Turn(AT_ZERO, EVERYTHING)
        return PiecewiseMonotone(function, value, derivative, (POLE,), (ZERO, ZERO), (turn,))
    limits = (STEEP_DOWN if even else STEEP, STEEP)
    return PiecewiseMonotone(function, value, derivative, (Knot(AT_ZERO, ZERO),), limits, (Turn(AT_ZERO, ZERO),))


def _signed(x: Tensor, size: Interval, *, odd: bool) -> Interval:
    return choose(x < 0, -size, size) if odd else size
