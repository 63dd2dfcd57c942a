"""Every elementwise function against its derivative in 40 digits: slopes hold, are attained, and rise or fall
between the knots as claimed.
"""

from __future__ import annotations

import itertools
import math

import mpmath
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from app.lipschitz.network.nodes import Activation
from app.lipschitz.network.rules.elementwise import DESCRIBED
from app.lipschitz.network.scalar import Scalar
from tests.effort import examples
from tests.lipschitz.helpers import network_of

mp = mpmath.mp.clone()
mp.dps = 40

SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
ROOT = mp.sqrt(2 / mp.pi)


def _softplus(x: mpmath.mpf) -> mpmath.mpf:
    return mp.log1p(mp.exp(x)) if x < 40 else x + mp.exp(-x)


FUNCTIONS = {
    "relu": (F.relu, lambda x: max(x, 0)),
    "relu6": (F.relu6, lambda x: min(max(x, 0), 6)),
    "clamp": (lambda x: x.clamp(-0.5, 0.75), lambda x: min(max(x, -0.5), 0.75)),
    "clamp below": (lambda x: x.clamp(min=-0.5), lambda x: max(x, -0.5)),
    "clamp above": (lambda x: x.clamp(max=0.5), lambda x: min(x, 0.5)),
    "hardtanh": (F.hardtanh, lambda x: min(max(x, -1), 1)),
    "softshrink": (F.softshrink, lambda x: mp.sign(x) * max(abs(x) - 0.5, 0)),
    "tanh": (torch.tanh, mp.tanh),
    "atan": (torch.atan, mp.atan),
    "asinh": (torch.asinh, mp.asinh),
    "sigmoid": (torch.sigmoid, lambda x: 1 / (1 + mp.exp(-x))),
    "erf": (torch.erf, mp.erf),
    "softplus": (F.softplus, _softplus),
    "softplus with beta": (lambda x: F.softplus(x, 2.0), lambda x: _softplus(2 * x) / 2),
    "log sigmoid": (F.logsigmoid, lambda x: -_softplus(-x)),
    "abs": (torch.abs, abs),
    "leaky relu": (lambda x: F.leaky_relu(x, 0.125), lambda x: x if x > 0 else x / 8),
    "steep leaky relu": (lambda x: F.leaky_relu(x, 3.0), lambda x: x if x > 0 else 3 * x),
    "threshold": (lambda x: F.threshold(x, 0.5, 0.5), lambda x: max(x, mp.mpf(0.5))),
    "elu": (lambda x: F.elu(x, 1.5), lambda x: x if x > 0 else 1.5 * mp.expm1(x)),
    "selu": (F.selu, lambda x: SELU_SCALE * (x if x > 0 else SELU_ALPHA * mp.expm1(x))),
    "celu": (lambda x: F.celu(x, 2.0), lambda x: x if x > 0 else 2 * mp.expm1(x / 2)),
    "hardsigmoid": (F.hardsigmoid, lambda x: min(max(x + 3, 0), 6) / mp.mpf(6)),
    "hardswish": (F.hardswish, lambda x: x * min(max(x + 3, 0), 6) / mp.mpf(6)),
    "gelu": (F.gelu, lambda x: x * mp.erfc(-x / mp.sqrt(2)) / 2),
    "tanh gelu": (
        lambda x: F.gelu(x, approximate="tanh"),
        lambda x: x / (1 + mp.exp(-2 * ROOT * (x + mp.mpf("0.044715") * x**3))),
    ),
    "silu": (F.silu, lambda x: x / (1 + mp.exp(-x))),
    "mish": (F.mish, lambda x: x * mp.tanh(_softplus(x))),
    "sin": (torch.sin, mp.sin),
    "exp": (torch.exp, mp.exp),
    "square": (torch.square, lambda x: x * x),
    "cube": (lambda x: x**3, lambda x: x**3),
}  # fmt: skip

STEEP = {"exp", "square", "cube"}
FLOAT32_SIXTH = 1e-8
"""torch multiplies by the float32 nearest to 1/6 in hard sigmoid and hard swish."""


def scalar_of(name: str) -> Scalar:
    nodes = network_of(FUNCTIONS[name][0], (1, 1)).nodes
    (activation,) = [node for node in nodes if isinstance(node, Activation)]
    return activation.scalar


SCALARS = {name: scalar_of(name) for name in FUNCTIONS}


def derivative(name: str, x: float) -> float:
    """By a central difference of step 1e-15 in 40 digits: exact to 1e-20 or so off the kinks."""
    step = mp.mpf(10) ** -15
    function = FUNCTIONS[name][1]
    return float((function(mp.mpf(x) + step) - function(mp.mpf(x) - step)) / (2 * step))


def grid(name: str) -> list[float]:
    knots = [float(torch.as_tensor(knot.at)) for knot in SCALARS[name].knots]
    near = [knot + side * 2.0**-e for knot in knots for side in (-1, 1) for e in (2, 8, 16, 30)]
    return sorted({*(k / 16 + 0.001 for k in range(-400, 400)), *near})


def test_every_registered_family_is_among_the_examples() -> None:
    partial = {"sqrt", "log", "log2", "log10", "rsqrt", "log1p", "reciprocal", "tan"}
    twins = {"clamp_min", "clamp_max", "cos", "expm1", "exp2", "pow", "prelu", "_prelu_kernel", "leaky_relu"}
    names = {key.partition(".")[0] for key in DESCRIBED} - partial - twins
    assert {name.rstrip("_") for name in names} <= set(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_slopes_enclose_the_derivative(name: str) -> None:
    whole = SCALARS[name].slope()
    for x in grid(name):
        assert whole.lower <= derivative(name, x) <= whole.upper


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - STEEP))
def test_slopes_are_attained(name: str) -> None:
    scalar, whole = SCALARS[name], SCALARS[name].slope()
    found = [derivative(name, x) for x in [*grid(name), *(s * 60.0 for s in (-1, 1)), -1e10, 1e10]]
    knots = [float(torch.as_tensor(knot.at)) for knot in scalar.knots]
    found += [derivative(name, knot + side * 1e-12) for knot in knots for side in (-1, 0, 1)]
    if name == "sin":
        found += [1.0, -1.0]
    tolerance = 1e-7 if name in {"hardsigmoid", "hardswish"} else 1e-9
    assert min(found) <= whole.lower + tolerance
    assert max(found) >= whole.upper - tolerance


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"sin"}))
def test_the_derivative_is_monotone_between_knots(name: str) -> None:
    knots = sorted(float(torch.as_tensor(knot.at)) for knot in SCALARS[name].knots)
    for low, high in zip([-math.inf, *knots], [*knots, math.inf], strict=True):
        values = [derivative(name, x) for x in grid(name) if low + 1e-12 < x < high - 1e-12]
        steps = [b - a for a, b in itertools.pairwise(values)]
        assert all(step >= -1e-12 for step in steps) or all(step <= 1e-12 for step in steps)


def test_a_cancelled_value_is_enclosed() -> None:
    """1 + tanh(-3) loses digits in float64, so the range needs an absolute allowance even at one point."""
    at = torch.tensor([-4.0], dtype=torch.float64)
    low, high = (float(end) for end in SCALARS["tanh gelu"].range(at, at))
    assert low <= FUNCTIONS["tanh gelu"][1](mp.mpf(-4)) <= high


@examples(60)
@given(st.sampled_from(sorted(FUNCTIONS)), st.floats(-12, 12), st.floats(0, 8), st.lists(st.floats(0, 1), min_size=4))
def test_intervals_enclose_slopes_and_values(name: str, start: float, width: float, parts: list[float]) -> None:
    scalar, function = SCALARS[name], FUNCTIONS[name][1]
    lower = torch.tensor([start], dtype=torch.float64)
    upper = torch.tensor([start + width], dtype=torch.float64)
    least, most = (float(end) for end in scalar.slopes(lower, upper))
    low, high = (float(end) for end in scalar.range(lower, upper))
    points = sorted({min(max(start + part * width, start), float(upper)) for part in parts})
    values = [function(mp.mpf(x)) for x in points]
    slack = 1e-18 + FLOAT32_SIXTH * (name in {"hardsigmoid", "hardswish"}) * 20
    assert all(low - slack <= y <= high + slack for y in values)
    pairs = itertools.pairwise(zip(points, values, strict=True))
    far = [((fy - fx) / (mp.mpf(y) - mp.mpf(x))) for (x, fx), (y, fy) in pairs if y - x > 1e-6]
    assert all(least - slack <= quotient <= most + slack for quotient in far)
