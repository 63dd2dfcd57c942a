"""Enclosures over a whole tail, `x >= T` or `x <= -T`, where products of a growing and a decaying factor occur.

Plain intervals lose x sigmoid'(x): infinity times almost zero. A `Tail` therefore also keeps

- `end`, the value at +-T: with the derivative it encloses f(x)/x, hence linear growth from above and below, and
- `growth[k] >= sup |f(x)|/|x|^k` and `weights[m] >= sup |x|^m |f'(x)|`, infinite where unknown.

The product rule bounds |x|^m |u v'| by sup |u|/|x|^k sup |x|^(m+k) |v'|. The chain rule for phi(g) with |g| >= c|x|
uses |x|^i |phi'(g)| <= c^-i sup_{|t| >= cT} |t|^i |phi'(t)|; for the functions of `DECAYS` that supremum is attained at
its end, because t^i exp(-a t^r) falls from a r t^r = i on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from .arithmetic import Interval
from .jets import Jet, slopes_over
from .scalar import Scalar, Window

ORDERS = range(-3, 5)
POWERS = range(5)
SLACK = 1.0 + 2.0**-30
TINY = 1e-300
"""Relatively and absolutely, what the few operations between two weights may lose."""

DECAYS: dict[str, tuple[float, float, int, tuple[int, ...]]] = {
    "sigmoid": (1.0, 1.0, 1, (-1, 1)),
    "tanh": (4.0, 2.0, 1, (-1, 1)),
    "erf": (2.0, 1.0, 2, (-1, 1)),
    "exp": (1.0, 1.0, 1, (-1,)),
    "softplus": (1.0, 1.0, 1, (-1,)),
}
"""|phi'(t)| <= C exp(-a |t|^r) as (C, a, r), on the negative (-1) and positive (1) side."""

ALGEBRAIC = frozenset({"reciprocal", "atan"})
"""|phi'(t)| <= 1/t^2."""


@dataclass(frozen=True, eq=False)
class Tail(Jet):
    """A function on `side x >= start`, a power of two >= 1; `end` encloses its value where the tail begins."""

    start: float
    side: int
    end: Interval
    weights: dict[int, float]
    growth: dict[int, float]

    @classmethod
    def variable(cls, start: float, side: int) -> Tail:
        ends = (start, math.inf) if side > 0 else (-math.inf, -start)
        end = Interval.of(side * start, side * start)
        return cls(
            Interval.of(*ends),
            Interval.of(1.0, 1.0),
            start,
            side,
            end,
            _settled({0: 1.0}, start),
            _grown({1: 1.0}, start),
        )

    @classmethod
    def number(cls, value: Interval, start: float, side: int) -> Tail:
        growth = _grown({0: value.magnitude}, start)
        return cls(value, Interval.of(0.0, 0.0), start, side, value, dict.fromkeys(ORDERS, 0.0), growth)

    @property
    def quotient(self) -> Interval:
        """f(x)/x is a mean of f(T)/T, weight T/x, and of a value of the derivative (mean value theorem)."""
        share = self.side / self.start
        return (self.end * Interval.of(share, share)).hull(self.slope)

    def plus(self, other: Jet) -> Tail:
        """f + g."""
        assert isinstance(other, Tail)
        weights = {m: self.weights[m] + other.weights[m] for m in ORDERS}
        growth = {k: self.growth[k] + other.growth[k] for k in POWERS}
        return self._make(super().plus(other), self.end + other.end, weights, growth)

    def times(self, other: Jet) -> Tail:
        assert isinstance(other, Tail)
        first, second = _products(self, other), _products(other, self)
        slope = _cut(self.slope * other.value, first[0]) + _cut(self.value * other.slope, second[0])
        weights = {m: first[m] + second[m] for m in ORDERS}
        growth = {k: min(_product(self.growth[i], other.growth[k - i]) for i in range(k + 1)) for k in POWERS}
        return self._make(Jet(self.value * other.value, slope), self.end * other.end, weights, growth)

    def through(self, name: str, scalar: Scalar, window: Window) -> Tail:
        """phi(f)."""
        steepest = slopes_over(scalar, self.value, window).magnitude
        quotient = self.quotient
        least = max(float(quotient.lower), -float(quotient.upper), 0.0)
        direction = self.side if float(quotient.lower) > 0 else -self.side
        decay = [steepest, *(_decay(name, i, least, self.start, direction) for i in range(1, 8))]
        weights = {
            m: min(_product(decay[i], self.weights[m - i]) for i in range(8) if m - i in self.weights) for m in ORDERS
        }
        end = Interval(*scalar.range(self.end.lower, self.end.upper))
        return self._make(super().through(name, scalar, window), end, weights, {})

    def larger(self, other: Jet, sign: float) -> Tail:
        """max(f, g) or min(f, g)."""
        assert isinstance(other, Tail)
        ends = Jet(self.end, self.slope).larger(Jet(other.end, other.slope), sign).value
        weights = {m: max(self.weights[m], other.weights[m]) for m in ORDERS}
        growth = {k: max(self.growth[k], other.growth[k]) for k in POWERS}
        return self._make(super().larger(other, sign), ends, weights, growth)

    def _make(self, jet: Jet, end: Interval, weights: dict[int, float], growth: dict[int, float]) -> Tail:
        settled = _settled(weights, self.start)
        slope = _cut(jet.slope, settled[0])
        made = Tail(jet.value, slope, self.start, self.side, end, settled, growth)
        known = {0: jet.value.magnitude, 1: made.quotient.magnitude}
        best = {k: min(growth.get(k, math.inf), known.get(k, math.inf)) for k in POWERS}
        return replace(made, growth=_grown(best, self.start))


def _settled(weights: dict[int, float], start: float) -> dict[int, float]:
    """|x|^m <= |x|^(m+1) / T: a lower order is never worse than a higher one."""
    settled = {m: _product(weights.get(m, math.inf), 1.0) for m in ORDERS}
    for m in reversed(ORDERS[:-1]):
        settled[m] = min(settled[m], _product(settled[m + 1], 1.0 / start))
    return settled


def _grown(growth: dict[int, float], start: float) -> dict[int, float]:
    """|f|/|x|^(k+1) <= |f|/|x|^k / T."""
    grown = {k: _product(growth.get(k, math.inf), 1.0) for k in POWERS}
    for k in POWERS[1:]:
        grown[k] = min(grown[k], _product(grown[k - 1], 1.0 / start))
    return grown


def _products(f: Tail, g: Tail) -> dict[int, float]:
    """sup |x|^m |f' g|."""
    return {m: min(_product(f.weights.get(m + k, math.inf), g.growth[k]) for k in POWERS) for m in ORDERS}


def _product(a: float, b: float) -> float:
    """Rounded up; an exact zero stays one, whatever the other is."""
    return 0.0 if a == 0.0 or b == 0.0 else SLACK * a * b + TINY


def _decay(name: str, i: int, least: float, start: float, direction: int) -> float:
    """sup |x|^i |phi'(g(x))| for |g(x)| >= least |x|, |x| >= start: start^i times the bound at g = least start."""
    end = least * start
    if end == 0.0:
        return math.inf
    if name in ALGEBRAIC:
        return _product(_product(start ** (i - 2), 1.0 / least), 1.0 / least) if i <= 2 else math.inf
    scale, rate, power, sides = DECAYS.get(name, (0.0, 0.0, 1, ()))
    fall = rate * (end if power == 1 else end * end)
    if direction not in sides or power * fall * (1 - 2.0**-40) < i:
        return math.inf
    return SLACK * scale * start**i * (math.exp(-fall) + TINY)


def _cut(interval: Interval, magnitude: float) -> Interval:
    return interval.within(-magnitude, magnitude)
