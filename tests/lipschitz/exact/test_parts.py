"""Branch and bound over parts of a domain: against attained slopes, enumeration and samples of every part."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from app.contract.options import ExactOptions
from app.lipschitz.deadline import NEVER, Deadline
from app.lipschitz.domain import Ball, Box, Domain
from app.lipschitz.exact.by_parts import by_parts, make_search
from app.lipschitz.exact.exact import exact
from app.lipschitz.exact.parts.search import Search
from app.lipschitz.exact.vertices import count_open
from app.lipschitz.network.build import build
from app.lipschitz.problem import Problem, Witness
from tests.lipschitz.helpers import ORDER, captured, jacobian_norms

NORMS = ["1", "2", "inf"]


class Skipping(nn.Module):
    """Two layers and a way around them."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(size, size) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """The sum of both ways, through an absolute value."""
        inner = torch.relu(self.second(nn.functional.leaky_relu(self.first(x), 0.2)))
        return self.third(torch.abs(inner + x) - torch.tanh(inner))


def perceptron(*widths: int) -> nn.Module:
    layers: list[nn.Module] = []
    for i, o in itertools.pairwise(widths):
        layers += [nn.Linear(i, o), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 2, 3), nn.PReLU(2),
        nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip


MODELS: dict[str, tuple[Any, int]] = {
    "dense": (lambda: perceptron(6, 10, 8, 3), 6),
    "skipping": (lambda: Skipping(5), 5),
    "convolutional": (convolutional, 16),
}


def problem_of(name: str, seed: int, p: Any, domain: Domain | None = None, scale: float = 1.0) -> Problem:
    torch.manual_seed(seed)
    make, size = MODELS[name]
    module = make().double()
    if scale != 1.0:
        with torch.no_grad():
            for one in module.parameters():
                one.mul_(scale ** (1 if one.ndim == 1 else torch.randint(-1, 2, ()).item()))
    centre = torch.randn(size, dtype=torch.float64)
    if domain is None:
        radius = {"1": 1.0, "2": 0.5, "inf": 0.2}[p]
        domain = Box(centre - radius / 2, centre + radius / 2) if seed % 2 else Ball(centre, radius, p)
    graph = captured(module, (1, size))
    return Problem(graph, build(graph, [0]), p, domain, seed, Deadline.after(120), lambda _: None)


def search_of(problem: Problem) -> Search:
    """The search, which knows of no steep pair."""
    centre = problem.domain.centre(problem.network.input.size)
    found = make_search(problem, 1e-4, Witness(centre, centre, 0.0))
    assert found is not None
    return found


def largest_at_samples(problem: Problem, count: int = 500) -> float:
    points = problem.domain.sample(count, problem.network.input.size, 1.0, torch.Generator().manual_seed(1))
    return float(jacobian_norms(problem.network, problem.p, points).max())


@pytest.mark.parametrize(
    ("name", "seed", "p"), [("dense", 0, "1"), ("dense", 1, "2"), ("skipping", 0, "inf"), ("convolutional", 1, "2")]
)
def test_the_bound_only_falls_and_stays_above_what_is_attained(name: str, seed: int, p: Any) -> None:
    problem = problem_of(name, seed, p)
    if not count_open(problem):
        pytest.skip("nothing is open on this domain: there is no search")
    search = search_of(problem)
    bounds = [search.upper]
    while len(bounds) < 6 and not search.finished:
        search.step(NEVER)
        bounds.append(search.upper)
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[-1] < bounds[0] or search.finished
    assert largest_at_samples(problem) <= bounds[-1] < math.inf
    assert search.points.witness.value <= bounds[-1] * (1 + 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("p", NORMS)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("seed", range(20))
def test_many_random_networks(name: str, seed: int, p: Any) -> None:
    test_the_bound_only_falls_and_stays_above_what_is_attained(name, seed, p)


@pytest.mark.parametrize("p", NORMS)
def test_it_closes_on_the_constant_that_an_enumeration_gives(p: Any) -> None:
    MODELS["plane"] = (lambda: perceptron(2, 8, 6, 2), 2)
    domain = Ball(torch.tensor([0.3, -0.2], dtype=torch.float64), 0.8, "inf")
    box = Box(torch.tensor([-0.5, -1.0], dtype=torch.float64), torch.tensor([1.1, 0.6], dtype=torch.float64))
    problem = problem_of("plane", 3, p, box if p != "inf" else domain)
    truth = exact(problem, ExactOptions(gap=1e-9))
    assert truth.details["status"] == "closed"
    found = by_parts(problem, ExactOptions(gap=1e-4), problem.deadline, None)
    assert found is not None
    assert found.details["status"] == "closed"
    assert truth.witness is not None
    assert found.witness is not None
    assert truth.witness.value * (1 - 1e-12) <= found.value <= truth.witness.value * (1 + 2e-4)


@pytest.mark.parametrize(("name", "seed", "p"), [("dense", 1, "2"), ("skipping", 1, "inf")])
def test_ranges_and_bounds_hold_in_every_part(name: str, seed: int, p: Any) -> None:
    problem = problem_of(name, seed, p)
    search = search_of(problem)
    while len(search._heap) < 2:
        search.step(NEVER)
    size = problem.network.input.size
    points = problem.domain.sample(1000, size, 1.0, torch.Generator().manual_seed(2))
    norms = jacobian_norms(problem.network, p, points)
    parts = [part for _, _, part in search._heap]
    everywhere = torch.zeros(len(points), dtype=torch.bool)
    for part in parts:
        v = search.points._arguments(part.take([0] * len(points)), points)
        inside = ((v >= part.least - 1e-12) & (v <= part.most + 1e-12)).all(1)
        inside &= ((points >= part.from_) & (points <= part.to)).all(1)
        everywhere |= inside
        assert bool(((v >= part.lower - 1e-9) & (v <= part.upper + 1e-9))[inside].all())
        assert bool((norms[inside] <= part.bound * (1 + 1e-9)).all())
    settled = norms <= search.settled
    assert bool((everywhere | settled).all())


@pytest.mark.parametrize("p", NORMS)
def test_any_slopes_within_a_parts_ends_are_bounded_whatever_the_multipliers(p: Any) -> None:
    problem = problem_of("dense", 0, p)
    search = search_of(problem)
    programs, root = search.programs, search.programs.start(search.root)
    worse = root.t * torch.rand(root.t.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    low, high = programs.kinks.slopes(root.lower, root.upper)
    share = torch.rand(300, programs.folded.count, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    vertices = torch.cat([low + (high - low) * share, low + (high - low) * share.round()])
    matrices = programs.folded.jacobians(vertices) * 2.0**programs.folded.exponent
    order = ORDER["inf" if p == "1" else p]
    largest = float(torch.linalg.matrix_norm(matrices, order).max())
    maps = programs._maps(low, high)
    for t in (root.t, worse, search._heap[0][2].t):
        bound = float(programs._proved(maps, t, search._heap[0][2].weights)[0]) * 2.0**programs.folded.exponent
        assert bound >= largest


def test_contradictory_conditions_are_proved_empty_and_others_are_not() -> None:
    problem = problem_of("dense", 0, "2")
    search = search_of(problem)
    root, known = search._heap[0][2], search.narrowing.known
    v = search.points._arguments(root, problem.domain.centre(6)[None])
    around = replace(root, least=v - 1e-3, most=v + 1e-3)
    assert not bool(search.narrowing.ranges(around)[1].any())
    assert bool((known.below.z[:2] == 0).all())
    corner = replace(root, least=root.least.clone())
    corner.least[0, :2] = root.upper[0, :2] - 1e-3 * (root.upper - root.lower)[0, :2]
    assert bool(search.narrowing._contradictory(corner).all())
    assert known.count == count_open(problem)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
@pytest.mark.parametrize("p", ["2", "inf"])
def test_extreme_scales_and_far_centres(scale: float, p: Any) -> None:
    centre = torch.full((6,), 1e4, dtype=torch.float64)
    problem = problem_of("dense", 0, p, Ball(centre, 5e3, p), scale)
    found = by_parts(problem, ExactOptions(seconds=5.0), Deadline.after(0.8), None)
    assert found is None or largest_at_samples(problem) <= found.value


def test_exact_takes_the_least_of_its_bounds() -> None:
    MODELS["wide"] = (lambda: perceptron(70, 20, 15, 3), 70)
    problem = problem_of("wide", 0, "2", Ball(torch.linspace(-1, 1, 70, dtype=torch.float64), 0.4, "2"))
    assert count_open(problem) > 6
    found = exact(problem, ExactOptions(seconds=1.5))
    search = search_of(problem)
    assert found.value <= search.upper
    assert found.witness is not None
    assert found.witness.value <= found.value
