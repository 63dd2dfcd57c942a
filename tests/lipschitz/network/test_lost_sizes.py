"""Operators whose own formulas leave float64's range where their values do not: certified numbers against the truth."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from app.lipschitz.deadline import Deadline
from app.lipschitz.domain import Box
from app.lipschitz.errors import ConversionMismatch, UnsupportedOperator
from app.lipschitz.formulation import make_problem
from app.lipschitz.lower.attained import attained
from app.lipschitz.network.propagation import propagate
from app.lipschitz.problem import Problem
from app.lipschitz.request import Request
from app.lipschitz.walk.autolip import autolip
from tests.lipschitz.helpers import captured, network_of


def vector(*entries: float) -> Tensor:
    return torch.tensor(entries, dtype=torch.float64)


def problem_of(function: Callable[[Tensor], Tensor], size: int, low: Any, high: Any, p: str = "2") -> Problem:
    domain = {"kind": "all"} if low is None else {"kind": "box", "lower": low, "upper": high}
    request = Request.parse({"methods": ["autolip"], "norm": p, "domain": domain})
    return make_problem(captured(function, (size,)), request, Deadline.after(60.0), lambda _: None)


def certified(*given: Any, **named: Any) -> float:
    value = autolip(problem_of(*given, **named)).value
    assert value is not None
    return value


def length(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, 2, [0], True)


def root_mean_square(x: Tensor) -> Tensor:
    """By the square mean less 0.9, whose reciprocal root is steep where it is small."""
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + -0.9)


def test_an_epsilon_below_zero_is_no_rms_norm() -> None:
    """At (1, 1) the Jacobian is [[-12.6, -15.8], [-15.8, -12.6]]."""
    assert certified(root_mean_square, 2, [1.0, 1.0], [1.01, 1.01], p="inf") >= 28.46


def test_a_norm_whose_squares_overflow_has_no_upper_end_alone() -> None:
    """|x| is 1.5e200 there, far below the 1e250 that cuts it; the graph itself overflows and is told apart from it."""
    cut = lambda x: torch.clamp(length(x), max=1e250)  # noqa: E731
    with pytest.raises(ConversionMismatch):
        certified(cut, 2, [1e200, 1e200], [1.1e200, 1.1e200])
    network = network_of(length, (2,))
    ends = propagate(network, Box(vector(1e200, 1e200), vector(1.1e200, 1.1e200)))[network.output]
    assert float(ends.lower) <= 1.5e200 <= float(ends.upper)


GAIN = vector(1.0, 2.0)
GAINS: dict[str, Callable[[Tensor], Tensor]] = {
    "computed": lambda x: 1e300 * (1e300 * F.layer_norm(x, (2,), (GAIN * 1e-200) * 1e-200)),
    "stored": lambda x: 1e300 * (1e300 * F.layer_norm(x, (2,), 1e-300 * torch.ones_like(GAIN), None, 1e300)),
}


@pytest.mark.parametrize("name", GAINS)
def test_a_gain_that_underflows_is_not_zero(name: str) -> None:
    """1e200 and 1e150, as large as layer norm itself and less by its epsilon."""
    assert certified(GAINS[name], 2, None, None) >= 1e149


def test_a_gain_that_is_not_known_is_refused() -> None:
    with pytest.raises(UnsupportedOperator, match="gain"):
        certified(lambda x: F.layer_norm(x, (2,), torch.special.bessel_j0(GAIN)), 2, None, None)


def test_no_entry_varies_of_a_layer_norm_without_gain_and_epsilon() -> None:
    assert certified(lambda x: F.layer_norm(x, (2,), 0.0 * GAIN, None, 0.0), 2, [0.0, 0.0], [1.0, 1.0]) == 0.0


@pytest.mark.parametrize("p", ["1", "2", "inf"])
def test_a_product_of_tiny_factors_is_not_constant(p: str) -> None:
    """d(x y z) = y z dx + ..., 1e-200 each at the box's end."""
    steep = certified(lambda x: torch.prod(x, 0, True), 3, [1e-101] * 3, [1e-100] * 3, p=p)
    assert steep >= {"1": 1e-200, "2": 1.732e-200, "inf": 3e-200}[p]


def test_attention_to_tiny_values_is_steep_in_its_queries() -> None:
    """Values of 1e-200 are multiplied back; at the end of the box a query moves the output by its keys' spread."""

    def attention(x: Tensor) -> Tensor:
        q, k = x.reshape(2, 1, 2, 2)
        return (1e200 * (torch.softmax(q @ k.mT, -1) @ (1e-200 * k))).reshape(-1)

    point = vector(0.0, 0.0, 0.0, 0.0, 10.0, 10.0, -10.0, -10.0)
    truth = torch.linalg.matrix_norm(torch.autograd.functional.jacobian(attention, point), 2)
    assert certified(attention, 8, (point - 0.1).tolist(), (point + 0.1).tolist()) >= float(truth)


LATER = vector(0.0, 5.0)
WITNESSED: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "the largest of all entries": (
        lambda x: vector(1.0, -1.0)[None] @ (x + torch.amax(x))[:, None],
        math.sqrt(2.0),
    ),
    "the size of tiny entries": (
        lambda x: 1e300 * (1e300 * (torch.linalg.vector_norm(1e-300 * (1e-300 * x), 1, [0], True)
                                    + 1e-300 * (1e-300 * x).sum())),
        1e-9,
    ),
    "the order of tiny entries": (
        lambda x: 1e300 * (1e300 * (torch.sort(1e-300 * (1e-300 * (x - LATER)))[0][:1] - 1e-300 * (1e-300 * x[1:]))),
        1e-9,
    ),
}  # fmt: skip
"""On pairs of which the first entry moves: the second one, less 5, is the smaller."""


@pytest.mark.parametrize("name", WITNESSED)
def test_no_pair_attains_more_than_there_is(name: str) -> None:
    function, truth = WITNESSED[name]
    problem = problem_of(function, 2, [-2.0, -2.0], [-0.5, -0.5])
    for x, y in ((vector(-2.0, -0.5), vector(-0.5, -0.5)), (vector(-1.0, -2.0), vector(-2.0, -2.0))):
        assert attained(problem, x, y).value <= truth
