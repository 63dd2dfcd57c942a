"""Roots of sums of squares: one norm, with its constant on the whole space, at every scale."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from mpmath import mp
from torch import Tensor

from app.lipschitz.errors import NotGloballyLipschitz
from app.lipschitz.network.magnitudes import Magnitude
from app.lipschitz.network.nodes import Nonlinear
from tests.lipschitz.helpers import autolip_of, jacobian_norms, network_of

SHAPE = (2, 3, 4)
W = torch.linspace(-1.0, 1.0, 16, dtype=torch.float64).reshape(4, 4)

FORMS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "two parts": (lambda x: torch.sqrt(x[..., :2] ** 2 + x[..., 2:] ** 2), 1.0),
    "three parts": (lambda x: (x[..., 0] * x[..., 0] + x[..., 1].square() + x[..., 2] ** 2).sqrt(), 1.0),
    "over an axis": (lambda x: (x * x).sum(1).sqrt(), 1.0),
    "over two axes that are kept": (lambda x: torch.sqrt((x**2).sum((0, 2), keepdim=True)), 1.0),
    "over all": (lambda x: torch.sqrt((x**2).sum()), 1.0),
    "by a power": (lambda x: (x**2).sum(-1) ** 0.5, 1.0),
    "with a floor": (lambda x: torch.sqrt((x**2).sum(-1) + 0.25 + 0.5), 1.0),
    "deviation": (lambda x: torch.sqrt(((x - x.mean(-1, keepdim=True)) ** 2).mean(-1)), 0.5),
    "over a number": (lambda x: torch.sqrt((x**2).sum(-1) / 9.0), 1.0 / 3.0),
    "times a number": (lambda x: torch.sqrt(4.0 * (x**2).sum(-1)), 2.0),
    "sum of sums": (lambda x: torch.sqrt((x[:, :, :2] ** 2).sum(-1) + (x[:, :, 2:] ** 2).sum(-1)), 1.0),
}


@pytest.mark.parametrize("name", FORMS)
def test_the_constant_is_that_of_the_norm(name: str) -> None:
    function, constant = FORMS[name]
    network = network_of(function, SHAPE)
    points = torch.randn(30, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) * 3.0
    for p in ("1", "2", "inf"):
        bound = autolip_of(network, p)
        attained = float(jacobian_norms(network, p, points).max())
        assert attained <= bound * (1 + 1e-12)
        if p == "2":
            assert bound == pytest.approx(constant, rel=1e-9)


@pytest.mark.parametrize(("factor", "size"), [(2.0**-499, 1.0), (2.0**499, 2.0**-500)])
def test_weights_beyond_float64_are_left_to_the_single_steps(factor: float, size: float) -> None:
    """The cube of the factor is no ordinary number: its root came out as zero, or ended in an overflow."""
    with pytest.raises(NotGloballyLipschitz, match="pow"):
        autolip_of(network_of(lambda x: torch.sqrt(((size * x) ** 2).sum(-1) * factor * factor * factor), (1, 3)), "2")


def test_a_number_without_axes() -> None:
    network = network_of(lambda x: torch.sqrt(x.reshape(()).square().sum(0) + x.reshape(()).square()), (1,))
    (magnitude,) = [node for node in network.nodes if isinstance(node, Nonlinear)]
    ones = torch.ones(2, dtype=torch.float64)
    lower, upper = magnitude.range(-ones, ones)
    assert lower.shape == upper.shape == (1,)
    assert float(lower) <= 0.0 < 2.0**0.5 <= float(upper) < 1.5


def test_parts_made_by_maps() -> None:
    """The magnitude of a complex number that matrices compute."""
    network = network_of(lambda x: torch.sqrt((x @ W) ** 2 + (x @ W.T) ** 2), (1, 4))
    points = torch.randn(200, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    bound, attained = autolip_of(network, "2"), float(jacobian_norms(network, "2", points).max())
    assert attained <= bound * (1 + 1e-12)
    assert bound <= float(torch.linalg.matrix_norm(torch.cat([W, W.T]), 2)) * (1 + 1e-9)


@pytest.mark.parametrize("function", [
    lambda x: torch.sqrt((x**2).sum(-1) - 0.5),
    lambda x: torch.sqrt(x[..., 0] ** 2 + x[..., 1] ** 3),
    lambda x: torch.sqrt((x**4).sum(-1)),
])  # fmt: skip
def test_what_only_looks_like_it_has_no_constant_everywhere(function: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(NotGloballyLipschitz):
        autolip_of(network_of(function, (1, 4)), "2")


@pytest.mark.parametrize("scale", [10.0**k for k in (-300, -170, -100, 0, 100, 160, 300)])
@pytest.mark.parametrize("floor", [0.0, 1.0])
def test_values_and_slopes_at_every_scale(scale: float, floor: float) -> None:
    layer = Magnitude(torch.arange(3)[None], Fraction(1, 3), floor)
    low = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64) * scale
    high = low + low.abs() * 1e-3
    found, (least, most) = layer.local(low, high), layer.range(None, low, high)
    with mp.workdps(60):
        x = [mp.mpf(float(a)) for a in low]
        squares = sum(a * a for a in x) / 3
        value = mp.sqrt(floor + squares)
        assert float(least[0]) <= value <= float(most[0])
        gradient = [a / 3 / value for a in x]
        lengths = {
            "1": max(map(abs, gradient)),
            "2": mp.sqrt(sum(g * g for g in gradient)),
            "inf": sum(map(abs, gradient)),
        }
        assert all(lengths[p] <= found[p] for p in lengths)


def test_short_vectors_beside_the_floor_are_nearly_flat() -> None:
    layer = Magnitude(torch.arange(4)[None], Fraction(1), 1.0)
    small = torch.full((4,), 1e-3, dtype=torch.float64)
    assert layer.local(-small, small)["2"] <= 2.1e-3


@pytest.mark.parametrize("order", [1.0, 2.0, math.inf])
def test_norms_of_what_is_large_keep_their_lower_ends(order: float) -> None:
    """Squares that overflow say nothing about the length."""
    low = torch.tensor([1e200, 1e200], dtype=torch.float64)
    network = network_of(lambda x: torch.linalg.vector_norm(x, order, 1), (1, 2))
    node = network.nodes[-1]
    least, most = node.enclosure(node.function, low, 2 * low)
    assert float(least[0]) <= 2e200
    assert float(most[0]) >= 2e200
