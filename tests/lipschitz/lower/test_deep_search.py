"""The deep search: smoothed tangents, whitened coordinates, hops; the same answer on an idle and on a busy machine."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from app.lipschitz.deadline import Deadline
from app.lipschitz.domain import Ball, Box, Domain, WholeSpace, vector_norm
from app.lipschitz.lower.attained import attained
from app.lipschitz.lower.coordinates import Coordinates, of_matrix
from app.lipschitz.lower.gradient import gradient
from app.lipschitz.lower.lines import scanned
from app.lipschitz.lower.search import evaluated
from app.lipschitz.lower.tangent import tangent
from app.lipschitz.network.build import build
from app.lipschitz.problem import Estimate, Problem
from tests.lipschitz.helpers import autolip_of, captured
from tests.lipschitz.lower.test_searches import options


def problem(function, size: int, p: str = "2", domain: Domain | None = None, seed: int = 1) -> Problem:
    graph = captured(function, (1, size))
    return Problem(graph, build(graph, [0]), p, domain or WholeSpace(), seed, Deadline.after(600), lambda _: None)


def search(asked: Problem, **given: object) -> Estimate:
    return gradient(asked, options("gradient", **given))


def perceptron(*widths: int, seed: int = 0, decades: float = 0.0) -> nn.Sequential:
    """A ReLU network; the singular values of its first layer fall over so many decades."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for i, o in pairwise(widths):
        layers += [nn.Linear(i, o).double(), nn.ReLU()]
        nn.init.normal_(layers[-2].weight, std=(2.0 / i) ** 0.5)
    first = layers[0].weight.data
    left, values, right = torch.linalg.svd(first, full_matrices=False)
    layers[0].weight.data = left * values * torch.logspace(0, -decades, len(values)).double() @ right
    return nn.Sequential(*layers[:-1])


MONOTONIC = time.monotonic


def on_a_machine(slowness: float) -> Problem:
    """A clock that runs so many times faster is a machine that many times slower."""

    def clock() -> float:
        return MONOTONIC() * slowness

    asked = problem(perceptron(12, 16, 16, 3), 12)
    return replace(asked, deadline=Deadline(clock() + 3600.0, clock))


@pytest.mark.parametrize("rounds", [{}, {"rounds": 1}])
def test_one_seed_has_one_answer_on_a_busy_machine(rounds: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"scouts": 512, "climbers": 16, **rounds}
    idle = search(on_a_machine(1.0), **few)
    busy = on_a_machine(10.0)
    monkeypatch.setattr(time, "monotonic", busy.deadline.clock)
    again = search(busy, **few)
    assert again.value == idle.value
    assert again.details == idle.details
    assert idle.witness is not None
    assert again.witness is not None
    assert torch.equal(idle.witness.x, again.witness.x)


def test_the_whole_space_attains_no_less_than_a_box_inside_it() -> None:
    """Its steepest pieces lie near the origin: the plain ascent attains 4.6 on the whole space and 7.0 in the box."""
    network = perceptron(5, 12, 12, 12, 12, 2, seed=7)
    box = Box(torch.full((5,), -0.5).double(), torch.full((5,), 0.5).double())
    whole, inside = (search(problem(network, 5, domain=one), scouts=0, rounds=3).value for one in (None, box))
    assert whole >= inside * (1 - 1e-9)


def test_it_leaves_places_where_the_plain_ascent_is_stuck() -> None:
    """A deep network whose first layer has singular values over two decades."""
    asked = problem(perceptron(100, 40, 40, 40, 40, 5, decades=2.0), 100)
    plain, deep = search(asked, scouts=0).value, search(asked, scouts=0, rounds=1).value
    assert plain * 1.6 <= deep <= autolip_of(asked.network, "2")


@pytest.mark.parametrize("p", ["1", "2", "inf"])
def test_witnesses_are_attained_in_the_domain(p: str) -> None:
    network = perceptron(6, 12, 12, 3)
    centre = torch.ones(6, dtype=torch.float64)
    for domain in (WholeSpace(), Box(centre - 0.3, centre + 0.1), Ball(centre, 0.2, p)):
        asked = problem(network, 6, p, domain)
        found = search(asked, rounds=1, scouts=0)
        assert found.witness is not None
        x, y = found.witness.x, found.witness.y
        assert torch.equal(domain.project(torch.stack([x, y])), torch.stack([x, y]))
        assert 0.0 < found.value <= autolip_of(asked.network, p)
        assert found.value == attained(asked, x, y).value
        rise = vector_norm(asked.network(x[None]) - asked.network(y[None]), p) / vector_norm(x[None] - y[None], p)
        assert found.value == pytest.approx(float(rise), rel=1e-7)


def mixed(x: Tensor) -> Tensor:
    """Every kind of node: an affine map, activations with and without kinks, max pooling, a product."""
    z = F.leaky_relu(F.linear(x, torch.linspace(-1, 1, 64).double().reshape(8, 8).cos()), 0.1)
    pooled = F.max_pool1d(F.hardtanh(z).reshape(1, 1, 8), 2).reshape(1, 4)
    return torch.tanh(z[:, :4]) * torch.sigmoid(pooled) + F.gelu(pooled)


def test_tangents_tend_to_the_derivative() -> None:
    torch.manual_seed(0)
    asked = problem(mixed, 8)
    x, v = torch.randn(2, 5, 8, dtype=torch.float64)
    exact = torch.autograd.functional.jvp(asked.network, x, v)[1]
    blurred, sharp = (tangent(asked.network, x, v, torch.full((5, 1), beta).double()) for beta in (3.0, 1e6))
    assert torch.allclose(sharp, exact, rtol=1e-5, atol=1e-7)
    assert not torch.allclose(blurred, exact, rtol=1e-2)


def test_tangents_have_gradients_at_points_and_directions() -> None:
    asked = problem(mixed, 8)
    x, v = torch.randn(2, 3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).requires_grad_()
    pulls = torch.autograd.grad(tangent(asked.network, x, v, torch.full((3, 1), 2.0).double()).sum(), (x, v))
    assert all(bool((pull.abs().sum(1) > 0).all()) for pull in pulls)


@pytest.mark.parametrize("shape", [(5, 9), (9, 5)])
def test_whitened_coordinates_even_out_the_first_layer(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    left, values, right = torch.linalg.svd(torch.randn(shape).double(), full_matrices=False)
    matrix = left * values * torch.logspace(0, -1.0, 5).double() @ right
    way = of_matrix(matrix)
    assert way is not None
    y = torch.randn(4, shape[1], dtype=torch.float64)
    assert torch.allclose(way.of_points(way.points(y)), y)
    singular = torch.linalg.svdvals(matrix @ way.points(torch.eye(shape[1]).double()).T)[:5]
    assert torch.allclose(singular, singular[0].expand(5))
    assert of_matrix(torch.zeros(shape).double()) is None
    centre = torch.ones(shape[1]).double()
    assert torch.equal(Coordinates(centre).points(y), centre + y)


def test_lines_meet_thin_slabs() -> None:
    """f climbs within a slab of width 0.01 only: of random points few meet it, of lines across it nearly all."""

    def slab(x: Tensor) -> Tensor:
        return F.relu(x[:, :1] - 0.3) - F.relu(x[:, :1] - 0.31)

    asked = problem(slab, 3, domain=Box(-torch.ones(3).double(), torch.ones(3).double()))
    random = torch.Generator().manual_seed(0)
    start = evaluated(asked, asked.domain.sample(64, 3, 1.0, random))
    start = start.where(torch.ones(64, dtype=torch.bool), replace(start, directions=torch.eye(3).double()[[0] * 64]))
    met = sum(int((scanned(asked, start, 1.0, random).norms > 0.5).sum()) for _ in range(20))
    assert int((start.norms > 0.5).sum()) < 3
    assert met > 100


def test_it_ends_where_the_bracket_is_closed() -> None:
    matrix = torch.randn(5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    asked = problem(lambda x: F.linear(x, matrix), 7)
    closed = replace(asked, ceiling=float(torch.linalg.matrix_norm(matrix, 2)))
    assert search(closed, scouts=0, rounds=2).details["rounds"] == 0
    assert search(asked, scouts=0, rounds=2).details["rounds"] == 2
