"""The battery that every scalar function inherits: a name, our object and the function in mpmath.

A name is the function in `app.lipschitz.network.scalars` that makes the object, with its parameters in brackets; the
object comes out of a rule where torch has an operator for it.
"""

from __future__ import annotations

import functools
import itertools
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import mpmath
import torch
import torch.nn.functional as F
from torch import Tensor

from app.lipschitz.network.nodes import Activation
from app.lipschitz.network.scalar import PiecewiseMonotone, Scalar
from app.lipschitz.network.scalars import rectifiers, sigmoids
from tests.lipschitz.helpers import network_of

mp = mpmath.mp.clone()
mp.dps = 60
Real = Callable[[mpmath.mpf], mpmath.mpf]

SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
PRECISIONS = (60, 140, 400, 1200)


def softplus(x: mpmath.mpf) -> mpmath.mpf:
    return max(x, mp.zero) + mp.log1p(exp(-abs(x)))


def exp(x: mpmath.mpf) -> mpmath.mpf:
    """e^x, cut off far below the least double."""
    return mp.exp(max(x, mp.mpf(-1e5)))


def sigmoid(x: mpmath.mpf) -> mpmath.mpf:
    return 1 / (1 + exp(-x)) if x > 0 else exp(x) / (1 + exp(x))


def erfc(x: mpmath.mpf) -> mpmath.mpf:
    """mpmath's own overflows far out, where this is less than any double, or 2."""
    return mp.erfc(max(min(x, mp.mpf(1e3)), mp.mpf(-1e3)))


def elu(alpha: float, scale: float = 1.0, inner: float = 1.0) -> Real:
    return lambda x: mp.mpf(scale) * (x if x > 0 else mp.mpf(alpha) * mp.expm1(mp.mpf(inner) * x))


def leaky(slope: float) -> Real:
    return lambda x: x if x > 0 else mp.mpf(slope) * x


def clip(low: float | None, high: float | None) -> Real:
    def function(x: mpmath.mpf) -> mpmath.mpf:
        raised = x if low is None else max(x, mp.mpf(low))
        return raised if high is None else min(raised, mp.mpf(high))

    return function


def tanh_gelu(x: mpmath.mpf) -> mpmath.mpf:
    return x * sigmoid(2 * mp.sqrt(2 / mp.pi) * (x + mp.mpf(0.044715) * x**3))


def gelu(x: mpmath.mpf) -> mpmath.mpf:
    return x * erfc(-x / mp.sqrt(2)) / 2


def mish(x: mpmath.mpf) -> mpmath.mpf:
    return x * mp.tanh(softplus(x))


def power(exponent: float) -> Real:
    if exponent % 1:
        return lambda x: x ** mp.mpf(exponent)
    return lambda x: x ** int(exponent)


def _elu(alpha: float, scale: float, inner: float) -> Callable[[Tensor], Tensor]:
    return lambda x: torch.ops.aten.elu(x, alpha, scale, inner)


def _powers() -> dict[str, tuple[Callable[[Tensor], Tensor], Real]]:
    exponents = (3.0, 4.0, 17.0, -1.0, -2.0, -3.0, 0.3, 0.5, 1.5, 2.5, -0.5, -1.7, 1e-3, 1e-17, -1e-9, 41.25)
    return {f"powers.power({a})": (lambda x, a=a: torch.pow(x, a), power(a)) for a in exponents}


def _leaky() -> dict[str, tuple[Callable[[Tensor], Tensor], Real]]:
    slopes = (0.01, 0.3, -0.2, 3.0, 1e-310, 0.0, 1e300)
    return {f"rectifiers.leaky({a})": (lambda x, a=a: F.leaky_relu(x, a), leaky(a)) for a in slopes}


def _softplus() -> dict[str, tuple[Callable[[Tensor], Tensor], Real]]:
    return {
        f"sigmoids.softplus({b})": (lambda x, b=b: F.softplus(x, b), lambda x, b=b: softplus(mp.mpf(b) * x) / mp.mpf(b))
        for b in (1.0, 2.0, 0.3, 1e-3, 50.0)
    }


def _celu() -> dict[str, tuple[Callable[[Tensor], Tensor], Real]]:
    return {
        f"exponentials.celu({a})": (
            lambda x, a=a: F.celu(x, a),
            lambda x, a=a: x if x > 0 else mp.mpf(a) * mp.expm1(x / mp.mpf(a)),
        )
        for a in (0.3, 1.0, 2.0, 1e-3, 1.3e5)
    }


WEIGHT = torch.tensor([0.1], dtype=torch.float32).double()
BOUND = torch.tensor([[0.1]], dtype=torch.float32).double()

FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor] | Scalar, Real]] = {
    "rectifiers.identity": (rectifiers.identity(), lambda x: x),
    "rectifiers.constant": (rectifiers.constant(0.1), lambda _: mp.mpf(0.1)),
    "rectifiers.relu": (F.relu, clip(0.0, None)),
    "rectifiers.clip(0, 6)": (F.relu6, clip(0.0, 6.0)),
    "rectifiers.clip(-1, 1)": (F.hardtanh, clip(-1.0, 1.0)),
    "rectifiers.clip(-0.3, 0.1)": (lambda x: x.clamp(-0.3, 0.1), clip(-0.3, 0.1)),
    "rectifiers.clip(-0.3,)": (lambda x: x.clamp(min=-0.3), clip(-0.3, None)),
    "rectifiers.clip(, 1e-320)": (lambda x: x.clamp(max=1e-320), clip(None, 1e-320)),
    "rectifiers.clip(-1e300, 1e300)": (lambda x: x.clamp(-1e300, 1e300), clip(-1e300, 1e300)),
    "rectifiers.clip(1, -1)": (lambda x: x.clamp(1.0, -1.0), clip(1.0, -1.0)),
    "rectifiers.clip(tensors)": (lambda x: torch.clamp(x, -BOUND, BOUND), clip(-float(BOUND), float(BOUND))),
    "rectifiers.clip(tensor,)": (lambda x: torch.clamp_min(x, BOUND), clip(float(BOUND), None)),
    "rectifiers.clip(, tensor)": (lambda x: torch.clamp_max(x, BOUND), clip(None, float(BOUND))),
    "rectifiers.clip(min,)": (lambda x: torch.clamp_min(x, 0.7), clip(0.7, None)),
    "rectifiers.clip(, max)": (lambda x: torch.clamp_max(x, 0.7), clip(None, 0.7)),
    "rectifiers.clip(threshold)": (lambda x: F.threshold(x, 0.7, 0.7), clip(0.7, None)),
    **_leaky(),
    "rectifiers.leaky(prelu)": (lambda x: F.prelu(x, WEIGHT), leaky(float(WEIGHT))),
    "rectifiers.absolute": (torch.abs, abs),
    "rectifiers.soft_shrink(0.1)": (
        lambda x: F.softshrink(x, 0.1), lambda x: mp.sign(x) * max(abs(x) - mp.mpf(0.1), mp.zero)
    ),
    "rectifiers.hard_sigmoid": (F.hardsigmoid, lambda x: min(max(x + 3, mp.zero), 6 * mp.one) / 6),
    "rectifiers.hard_swish": (F.hardswish, lambda x: x * min(max(x + 3, mp.zero), 6 * mp.one) / 6),
    "sigmoids.sigmoid": (torch.sigmoid, sigmoid),
    "sigmoids.tanh": (torch.tanh, mp.tanh),
    "sigmoids.erf": (torch.erf, mp.erf),
    "sigmoids.atan": (torch.atan, mp.atan),
    "sigmoids.asinh": (torch.asinh, mp.asinh),
    "sigmoids.softsign": (sigmoids.softsign(), lambda x: x / (1 + abs(x))),
    **_softplus(),
    "sigmoids.log_sigmoid": (F.logsigmoid, lambda x: -softplus(-x)),
    **{
        f"sigmoids.hyperbola({c})": (sigmoids.hyperbola(c), lambda x, c=c: mp.sqrt(x * x + mp.mpf(c)))
        for c in (1.0, 1e-3, 1e-300, 1e300)
    },
    "swishes.silu": (F.silu, lambda x: x * sigmoid(x)),
    "swishes.gelu": (F.gelu, gelu),
    "swishes.tanh_gelu": (lambda x: F.gelu(x, approximate="tanh"), tanh_gelu),
    "swishes.mish": (F.mish, mish),
    "exponentials.exponential(exp)": (torch.exp, mp.exp),
    "exponentials.exponential(expm1)": (torch.expm1, mp.expm1),
    "exponentials.exponential(exp2)": (torch.exp2, lambda x: mp.mpf(2) ** x),
    "exponentials.elu(1.5)": (lambda x: F.elu(x, 1.5), elu(1.5)),
    "exponentials.elu(0.3)": (lambda x: F.elu(x, 0.3), elu(0.3)),
    "exponentials.elu(-0.5)": (_elu(-0.5, 1.0, 1.0), elu(-0.5)),
    "exponentials.elu(three)": (_elu(0.3, 1.1, 0.7), elu(0.3, 1.1, 0.7)),
    "exponentials.elu(selu)": (F.selu, elu(SELU_ALPHA, SELU_SCALE)),
    **_celu(),
    "exponentials.logarithm(log)": (torch.log, mp.log),
    "exponentials.logarithm(log2)": (torch.log2, lambda x: mp.log(x) / mp.ln2),
    "exponentials.logarithm(log10)": (torch.log10, lambda x: mp.log(x) / mp.ln10),
    "exponentials.logarithm(log1p)": (torch.log1p, mp.log1p),
    "powers.square": (torch.square, lambda x: x * x),
    "powers.reciprocal": (torch.reciprocal, lambda x: 1 / x),
    "powers.sqrt": (torch.sqrt, mp.sqrt),
    "powers.rsqrt": (torch.rsqrt, lambda x: 1 / mp.sqrt(x)),
    **_powers(),
    "waves.Wave(sin)": (torch.sin, mp.sin),
    "waves.Wave(cos)": (torch.cos, mp.cos),
    "waves.Tangent": (torch.tan, mp.tan),
    "fused.Fused(sigmoid)": (lambda x: 1 / (1 + torch.exp(x)), lambda x: sigmoid(-x)),
    "fused.Fused(silu)": (lambda x: x / (1 + torch.exp(-x)), lambda x: x * sigmoid(x)),
    "fused.Fused(gelu)": (lambda x: x * 0.5 * (1 + torch.erf(x / 2.0)), lambda x: x * erfc(-x / 2) / 2),
    "fused.Fused(tanh gelu)": (
        lambda x: 0.5 * x * (1 + torch.tanh(0.75 * (x + 0.04 * x**3))),
        lambda x: x * sigmoid(mp.mpf(1.5) * (x + mp.mpf(0.04) * x**3)),
    ),
    "fused.Fused(mish)": (lambda x: x * torch.tanh(torch.log(1 + torch.exp(x))), mish),
    "fused.Fused(softsign)": (lambda x: x / (1 + torch.abs(x)), lambda x: x / (1 + abs(x))),
    "fused.Fused(hyperbola)": (lambda x: torch.sqrt(x**2 + 1e-3), lambda x: mp.sqrt(x * x + mp.mpf(1e-3))),
    "fused.Fused(tanhshrink)": (lambda x: x - torch.tanh(x), lambda x: x - mp.tanh(x)),
    "fused.Fused(gauss)": (lambda x: x * torch.exp(-(x * x)), lambda x: x * exp(-x * x)),
    "fused.Fused(hard swish)": (
        lambda x: x * (x / 6 + 0.5).clamp(0, 1), lambda x: x * min(max(x / 6 + mp.mpf(0.5), mp.zero), mp.one)
    ),
    "fused.Fused(elu)": (lambda x: torch.where(x > 0, x, torch.exp(x) - 1), elu(1.0)),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Entry:
    """One function of the battery."""

    scalar: Scalar
    exact: Real
    operators: frozenset[str]


@functools.cache
def entry(name: str) -> Entry:
    """The function called so, traced and built where torch has an operator for it."""
    function, exact = FUNCTIONS[name]
    if isinstance(function, Scalar):
        return Entry(function, exact, frozenset())
    (node,) = [node for node in network_of(function, (1, 1)).nodes if isinstance(node, Activation)]
    return Entry(node.scalar, exact, frozenset(origin.op for origin in node.origins))


MACHINE_RANGE = (-320.0, 300.0)


def special_points(scalar: Scalar) -> list[float]:
    """Knots, turns and ends of the domain, all of which are places to fail at."""
    places = [knot.place.at for knot in scalar.knots]
    if isinstance(scalar, PiecewiseMonotone):
        places += [turn.place.at for turn in scalar.turns] + ([] if scalar.start is None else [scalar.start])
    return [0.0, *(float(at) for at in places)]


def intervals(scalar: Scalar, count: int, rng: random.Random) -> Iterator[tuple[float, float]]:
    """Of all scales: around special points, in tails, tiny ones far out, huge ones."""
    special = special_points(scalar)
    for i in range(count):
        kind = i % 7
        if kind == 6:
            at = rng.choice(special)
            yield at - 10.0 ** rng.uniform(-9, 1), at + 10.0 ** rng.uniform(-9, 1)
            continue
        start = _start(kind, special, rng)
        width = abs(start) * 10.0 ** rng.uniform(-17, 1) if rng.random() < 0.5 else 10.0 ** rng.uniform(-320, 3)
        if kind == 5:
            width = 10.0 ** rng.uniform(-3, 300)
        other = start + rng.choice([-1, 1]) * width
        if start == other:
            other = math.nextafter(start, rng.choice([-math.inf, math.inf]))
        low, high = sorted((start, other))
        if math.isfinite(low) and math.isfinite(high):
            yield low, high


def _start(kind: int, special: list[float], rng: random.Random) -> float:
    if kind in (0, 1):
        at = rng.choice(special)
        return at + rng.choice([-1, 0, 1]) * 10.0 ** rng.uniform(-17, 0) * max(abs(at), 10.0 ** rng.uniform(-320, 0))
    if kind == 2:
        return rng.choice([-1, 1]) * 10.0 ** rng.uniform(*MACHINE_RANGE)
    return rng.gauss(0.0, 1.0) * (3.0 if kind == 3 else 40.0 if kind == 4 else 400.0)


def points_of(low: float, high: float, special: list[float], rng: random.Random) -> list[float]:
    """Both ends, neighbours of theirs, special points and others between."""
    inner = [low + (high / 2 - low / 2) * 2 * rng.random() for _ in range(2)]
    inside = [x for at in special for x in (at, at + 1e-6 * (1 + abs(at))) if low < x < high]
    found = {low, high, math.nextafter(low, high), *(min(max(x, low), high) for x in inner), *inside}
    return sorted(found)


def value(exact: Real, x: float) -> mpmath.mpf | None:
    """In 60 digits; None where the function is not defined or is not real."""
    try:
        found = exact(mp.mpf(x))
    except (ZeroDivisionError, ValueError):
        return None
    return found if hasattr(found, "_mpf_") and mp.isfinite(found) else None


def quotient(exact: Real, x: float, y: float) -> mpmath.mpf:
    """The difference quotient, in as many digits as it takes for two precisions to agree."""
    before = None
    for digits in PRECISIONS:
        with mp.workdps(digits):
            found = (exact(mp.mpf(y)) - exact(mp.mpf(x))) / (mp.mpf(y) - mp.mpf(x))
            if found and before is not None and abs(found - before) <= mp.mpf(10) ** -35 * abs(found):
                break
            before = found
    return found


def holds(low: float, exact: mpmath.mpf, high: float) -> bool:
    """Whether a number known to 35 digits lies in an enclosure."""
    slack = mp.mpf(10) ** -33 * abs(exact)
    return mp.mpf(low) <= exact + slack and exact - slack <= mp.mpf(high)


def check(entry: Entry, count: int, seed: int) -> list[str]:
    """What of values and difference quotients lies outside the enclosures; empty where all is well."""
    rng, wrong, special = random.Random(seed), [], special_points(entry.scalar)
    cases = list(intervals(entry.scalar, count, rng))
    lower, upper = (torch.tensor(ends, dtype=torch.float64) for ends in zip(*cases, strict=True))
    slopes = [end.expand_as(lower).tolist() for end in entry.scalar.slopes(lower, upper)]
    ranges = [end.expand_as(lower).tolist() for end in entry.scalar.range(lower, upper)]
    for i, (low, high) in enumerate(cases):
        points = points_of(low, high, special, rng)
        values = [value(entry.exact, x) for x in points]
        if any(y is None for y in values):
            continue
        for x, y in zip(points, values, strict=True):
            if not holds(ranges[0][i], y, ranges[1][i]):
                wrong.append(
                    f"value at {x!r} of [{low!r}, {high!r}]: {mp.nstr(y, 20)} {ranges[0][i]!r} {ranges[1][i]!r}"
                )
        for x, y in itertools.pairwise(points):
            slope = quotient(entry.exact, x, y)
            if not holds(slopes[0][i], slope, slopes[1][i]):
                wrong.append(f"slope {x!r} {y!r}: {mp.nstr(slope, 20)} not in {slopes[0][i]!r} {slopes[1][i]!r}")
    return wrong
