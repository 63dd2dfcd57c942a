"""Functions that rise from one level to another, or to a line: steepest at zero or at infinity."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ..arithmetic import Interval
from ..scalar import ONE, ZERO, Knot, PiecewiseMonotone, Place, Turn
from .library import LARGEST, exp, hypot, monotone

AT_ZERO = Place(0.0)
PI = Interval.near(math.pi)
ROOT_PI = PI.sqrt()


def sigmoid_of(z: Interval) -> Interval:
    """1/(1 + e^-z)."""
    return (1.0 / (exp(-z) + 1.0)).within(0.0, 1.0)


def softplus_of(z: Interval) -> Interval:
    """log(1 + e^z) = max(z, 0) + log(1 + e^-|z|)."""
    return z.within(0.0, math.inf) + monotone("log1p", exp(-abs(z))).within(0.0, math.inf)


def _bell(
    function: Callable[[Tensor], Tensor],
    value: Callable[[Interval], Interval],
    derivative: Callable[[Interval], Interval],
    steepest: Interval,
    reach: float = LARGEST,
) -> PiecewiseMonotone:
    """Steepest at zero, flat far away."""
    return PiecewiseMonotone(
        function,
        lambda x: value(Interval.point(x)),
        lambda x: derivative(Interval.point(x)),
        (Knot(AT_ZERO, steepest),),
        reach=(-reach, reach),
    )


def sigmoid() -> PiecewiseMonotone:
    """s = 1/(1 + e^-x); s' = s(x) s(-x)."""
    return _bell(torch.sigmoid, sigmoid_of, lambda x: sigmoid_of(x) * sigmoid_of(-x), Interval.point(0.25))


def tanh() -> PiecewiseMonotone:
    """tanh' = 4 s(2x) s(-2x)."""

    def derivative(x: Interval) -> Interval:
        return sigmoid_of(2.0 * x) * sigmoid_of(-2.0 * x) * 4.0

    return _bell(torch.tanh, lambda x: monotone("tanh", x), derivative, ONE)


def erf() -> PiecewiseMonotone:
    """erf' = 2/sqrt(pi) e^(-x^2)."""
    steepest = 2.0 / ROOT_PI
    return _bell(torch.erf, lambda x: monotone("erf", x), lambda x: steepest * exp(-x.square()), steepest)


def atan() -> PiecewiseMonotone:
    """atan' = 1/(1 + x^2)."""
    return _bell(torch.atan, lambda x: monotone("atan", x), lambda x: 1.0 / (x.square() + 1.0), ONE)


def asinh() -> PiecewiseMonotone:
    """asinh' = 1/sqrt(1 + x^2)."""
    return _bell(torch.asinh, lambda x: monotone("asinh", x), lambda x: 1.0 / hypot(x, ONE), ONE)


def softsign() -> PiecewiseMonotone:
    """x/(1 + |x|), with derivative 1/(1 + |x|)^2."""
    return _bell(
        F.softsign, lambda x: (x / (abs(x) + 1.0)).within(-1.0, 1.0), lambda x: (1.0 / (abs(x) + 1.0)).square(), ONE
    )


def softplus(beta: float = 1.0) -> PiecewiseMonotone:
    """log(1 + e^(beta x))/beta, with derivative s(beta x). torch jumps by 2e-9 where it switches to the identity; the
    function meant has no jump.
    """
    return PiecewiseMonotone(
        lambda x: torch.logaddexp(beta * x, torch.zeros_like(x)) / beta,
        lambda x: softplus_of(Interval.point(x) * beta) / beta,
        lambda x: sigmoid_of(Interval.point(x) * beta),
        (),
        (ZERO, ONE),
    )


def log_sigmoid() -> PiecewiseMonotone:
    """log s(x) = -softplus(-x), with derivative s(-x)."""
    return PiecewiseMonotone(
        F.logsigmoid,
        lambda x: -softplus_of(Interval.point(-x)),
        lambda x: sigmoid_of(Interval.point(-x)),
        (),
        (ONE, ZERO),
    )


def hyperbola(c: float) -> PiecewiseMonotone:
    """sqrt(x^2 + c) for c > 0, with derivative x/sqrt(x^2 + c)."""
    root = Interval.point(c).sqrt()

    def derivative(x: Tensor) -> Interval:
        point = Interval.point(x)
        return (point / hypot(point, root)).within(-1.0, 1.0)

    return PiecewiseMonotone(
        lambda x: torch.sqrt(x.square() + c),
        lambda x: hypot(Interval.point(x), root),
        derivative,
        (),
        (-ONE, ONE),
        (Turn(AT_ZERO, root),),
    )
