"""x times a sigmoid of x: derivatives from slightly below 0 to slightly above 1, extreme at two points."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from ..arithmetic import Interval
from ..scalar import ONE, ZERO, Knot, PiecewiseMonotone, Place, Turn
from .library import exp, monotone
from .sigmoids import PI, sigmoid_of, softplus_of

ROOT_2 = Interval.point(2.0).sqrt()
CUBIC = 0.044715
"""Coefficient of GELU's tanh approximation, as the frameworks store it."""
REACH = 800.0
"""Beyond, e^-|x| is no double."""


def _swish(
    function: Callable[[Tensor], Tensor],
    value: Callable[[Interval], Interval],
    derivative: Callable[[Interval], Interval],
    *,
    lowest: tuple[float, float],
    highest: tuple[float, float],
    turn: tuple[float, float],
    reach: float = REACH,
) -> PiecewiseMonotone:
    """`lowest`, `highest`: where the derivative is extreme, and what it is there; `turn`: the same of the value.

    All are the doubles nearest to the real numbers.
    """
    knots = tuple(Knot(Place.near(at), Interval.near(slope)) for at, slope in (lowest, highest))
    return PiecewiseMonotone(
        function,
        lambda x: value(Interval.point(x)),
        lambda x: derivative(Interval.point(x)),
        knots,
        (ZERO, ONE),
        (Turn(Place.near(turn[0]), Interval.near(turn[1])),),
        (-reach, reach),
        (ZERO, None),
    )


def silu() -> PiecewiseMonotone:
    """x s(x), with derivative s(x) (1 + x s(-x)); extreme where x tanh(x/2) = 2."""

    def derivative(x: Interval) -> Interval:
        return sigmoid_of(x) * (x * sigmoid_of(-x) + 1.0)

    return _swish(
        F.silu,
        lambda x: x * sigmoid_of(x),
        derivative,
        lowest=(-2.3993572805154675, -0.09983932012886691),
        highest=(2.3993572805154675, 1.099839320128867),
        turn=(-1.2784645427610737, -0.2784645427610738),
    )


def gelu() -> PiecewiseMonotone:
    """x Phi(x), with derivative Phi(x) + x phi(x); extreme at +-sqrt(2)."""

    def gauss(x: Interval) -> Interval:
        return monotone("erfc", -(x / ROOT_2)) / 2.0

    def derivative(x: Interval) -> Interval:
        return gauss(x) + x * (exp(-(x.square() / 2.0)) / (2.0 * PI).sqrt())

    return _swish(
        F.gelu,
        lambda x: x * gauss(x),
        derivative,
        lowest=(-math.sqrt(2.0), -0.12890414518515478),
        highest=(math.sqrt(2.0), 1.1289041451851547),
        turn=(-0.7517915246935645, -0.16997120747990366),
        reach=40.0,
    )


def tanh_gelu() -> PiecewiseMonotone:
    """x s(2u) for u = sqrt(2/pi) (x + c x^3), with derivative s(2u) (1 + 2 x u' s(-2u))."""
    scale = 2.0 * (2.0 / PI).sqrt()

    def argument(x: Interval) -> Interval:
        return scale * (x * (x.square() * CUBIC + 1.0))

    def derivative(x: Interval) -> Interval:
        rising = scale * (x.square() * (3.0 * Interval.point(CUBIC)) + 1.0)
        return sigmoid_of(argument(x)) * (x * rising * sigmoid_of(-argument(x)) + 1.0)

    return _swish(
        lambda x: F.gelu(x, approximate="tanh"),
        lambda x: x * sigmoid_of(argument(x)),
        derivative,
        lowest=(-1.4185040087908283, -0.12899306865877178),
        highest=(1.4185040087908283, 1.1289930686587717),
        turn=(-0.7524614220710163, -0.17004075057125406),
        reach=40.0,
    )


def mish() -> PiecewiseMonotone:
    """x t(x) for t = tanh(softplus(x)), with derivative t + 4 x s(x) s(2p) s(-2p) for p = softplus(x)."""

    def derivative(x: Interval) -> Interval:
        p = softplus_of(x)
        return monotone("tanh", p) + 4.0 * (x * sigmoid_of(x)) * (sigmoid_of(2.0 * p) * sigmoid_of(-2.0 * p))

    return _swish(
        F.mish,
        lambda x: x * monotone("tanh", softplus_of(x)).within(0.0, 1.0),
        derivative,
        lowest=(-2.256376396360793, -0.11252612238946255),
        highest=(1.4905711794854284, 1.088498161251728),
        turn=(-1.1924312145154952, -0.30884341301725043),
    )
