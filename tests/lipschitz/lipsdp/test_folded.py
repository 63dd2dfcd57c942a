"""LipSDP on a domain is sized by its open neurons: the settled ones fold away, in dense and convolutional layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from app.contract.options import LipsdpOptions
from app.lipschitz.deadline import Deadline
from app.lipschitz.domain import Ball, Box, Domain
from app.lipschitz.lipsdp.lipsdp import lipsdp
from app.lipschitz.lipsdp.sizes import is_large, open_neurons, side
from app.lipschitz.network.build import build
from app.lipschitz.problem import Problem
from app.lipschitz.walk.pieces import cuts, joined
from tests.lipschitz.helpers import captured, jacobian_norms

SIZE = 36


def dense() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(SIZE, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 3)).double()


def convolutional() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Unflatten(1, (1, 6, 6)), nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 2, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(32, 3),
    ).double()  # fmt: skip


def domains() -> list[Domain]:
    centre = torch.linspace(-1.0, 1.0, SIZE, dtype=torch.float64).cos()
    return [Box(centre - 0.02, centre + 0.02), Ball(centre, 0.1, "2")]


def problem_on(module: nn.Module, domain: Domain, p: Any = "2") -> Problem:
    graph = captured(module, (1, SIZE))
    return Problem(graph, build(graph, [0]), p, domain, 0, Deadline.after(60), lambda _: None)


@pytest.mark.parametrize("make", [dense, convolutional])
@pytest.mark.parametrize("which", [0, 1])
def test_a_network_beyond_dense_algebra_is_bounded_whole_where_few_neurons_are_open(
    make: Any, which: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = problem_on(make(), domains()[which])
    expected = lipsdp(problem, LipsdpOptions())
    monkeypatch.setattr("app.lipschitz.lipsdp.sizes.LARGEST_SIDE", 60)
    monkeypatch.setattr("app.lipschitz.lipsdp.lipsdp.primal_bound", lambda *_: None)
    found = lipsdp(problem_on(make(), domains()[which]), LipsdpOptions())
    assert found.details["whole"]
    assert found.value == pytest.approx(expected.value, rel=1e-6)
    points = problem.domain.sample(200, SIZE, 1.0, torch.Generator().manual_seed(0))
    assert float(jacobian_norms(problem.network, "2", points).max()) <= found.value


@pytest.mark.parametrize("make", [dense, convolutional])
def test_the_side_counts_open_neurons(make: Any) -> None:
    problem = problem_on(make(), domains()[0])
    whole = joined(cuts(problem.network))
    count = open_neurons(whole.activations, problem.local)
    assert 0 < count < 30
    assert side(whole, problem.local) == count + min(SIZE, count + 3)
    assert not is_large(whole, problem.local)


@pytest.mark.parametrize("p", ["1", "inf"])
def test_an_activation_without_open_neurons_is_no_obstacle(p: Any) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Linear(SIZE, 20),
        nn.ReLU(),
        nn.Linear(20, 10),
        nn.LeakyReLU(0.5),
        nn.Linear(10, 8),
        nn.ReLU(),
        nn.Linear(8, 2),
    ).double()
    with torch.no_grad():
        module[2].bias += 100.0
    centre = torch.linspace(-1.0, 1.0, SIZE, dtype=torch.float64).cos()
    problem = problem_on(module, Box(centre - 0.3, centre + 0.3), p)
    counts = [open_neurons([node], problem.local) for node in joined(cuts(problem.network)).activations]
    assert counts[0] > 0
    assert counts[1] == 0
    points = problem.domain.sample(200, SIZE, 1.0, torch.Generator().manual_seed(0))
    assert float(jacobian_norms(problem.network, p, points).max()) <= lipsdp(problem, LipsdpOptions()).value
