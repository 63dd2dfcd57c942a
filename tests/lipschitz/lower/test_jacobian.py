"""Jacobian norms and their directions agree with dense Jacobians, by either way."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from app.lipschitz.domain import vector_norm
from app.lipschitz.lower import jacobian
from app.lipschitz.lower.jacobian import steepest_at
from app.lipschitz.network.nodes import Network
from app.lipschitz.operators.norm import Norm
from tests.lipschitz.helpers import jacobian_norms, network_of


def network(inputs: int, outputs: int) -> Network:
    torch.manual_seed(0)
    return network_of(nn.Sequential(nn.Linear(inputs, 24), nn.Tanh(), nn.Linear(24, outputs)), (1, inputs))


@pytest.mark.parametrize("p", ["1", "2", "inf"])
@pytest.mark.parametrize("shape", [(7, 3), (3, 7), (1, 5), (5, 1)], ids=str)
def test_small_sides_have_exact_norms(shape: tuple[int, int], p: Norm) -> None:
    function = network(*shape)
    points = torch.randn(11, shape[0], dtype=torch.float64)
    norms, directions = steepest_at(function, points, p)
    assert norms == pytest.approx(jacobian_norms(function, p, points), rel=1e-7)
    assert vector_norm(directions, p) == pytest.approx(torch.ones(11), rel=1e-12)
    assert attained(function, points, directions, p) == pytest.approx(norms, rel=1e-6)


@pytest.mark.parametrize("p", ["1", "2", "inf"])
def test_the_power_method_attains_what_it_says(p: Norm) -> None:
    function = network(40, 36)
    points = torch.randn(9, 40, dtype=torch.float64)
    norms, directions = steepest_at(function, points, p)
    truth = jacobian_norms(function, p, points)
    assert (norms <= truth * (1 + 1e-6)).all()
    assert (norms >= 0.5 * truth).all()
    assert attained(function, points, directions, p) == pytest.approx(norms, rel=1e-6)
    again = steepest_at(function, points, p, directions)
    assert (again.norms >= norms * (1 - 1e-6)).all()


def attained(function: Network, points: torch.Tensor, directions: torch.Tensor, p: Norm) -> torch.Tensor:
    step = 1e-5
    return vector_norm(function(points + step * directions) - function(points - step * directions), p) / (2 * step)


def test_a_constant_function_has_norm_zero() -> None:
    function = network_of(lambda x: 0.0 * x, (1, 40))
    norms, directions = steepest_at(function, torch.randn(3, 40, dtype=torch.float64), "2")
    assert norms.tolist() == [0.0] * 3
    assert torch.isfinite(directions).all()


def test_batches_shrink_with_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    function = network(7, 3)
    monkeypatch.setattr(jacobian, "ENTRIES", 10_000)
    assert jacobian.batch_size(function) == 10_000 // (7 + 24 + 24 + 3 + 21)
    monkeypatch.setattr(jacobian, "ENTRIES", 1)
    assert jacobian.batch_size(function) == 1
