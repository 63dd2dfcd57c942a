"""Enclosures of every derivative: never passed by an attained one, exact where they can be, and their norms."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from app.lipschitz.deadline import NEVER, Deadline, OutOfTime
from app.lipschitz.domain import Ball, Box, Domain, WholeSpace
from app.lipschitz.jacobian import vertices
from app.lipschitz.jacobian.enclosure import by_intervals, by_lines
from app.lipschitz.jacobian.signs import Signs, moved
from app.lipschitz.network.build import build
from app.lipschitz.network.nodes import Activation, Nonlinear
from app.lipschitz.operators.dense import Dense
from app.lipschitz.problem import Problem
from app.lipschitz.walk.autolip import autolip
from tests.lipschitz.helpers import ORDER, captured
from tests.lipschitz.jacobian.random_networks import bounded, derivatives, domain, network, problem_of
from tests.lipschitz.random_graphs import random_program
from tests.lipschitz.test_random_graphs import jacobians

ROUNDING = 1e-9
"""What automatic differentiation may be off by."""


def outside(seed: int) -> int:
    """Derivatives at points of the domain that are outside their enclosure, and norms above the bound."""
    module, shape = network(seed)
    p = ("1", "2", "inf")[seed % 3]
    size = torch.Size(shape).numel()
    problem = problem_of(module, shape, p, domain(seed, size, p), seconds=1.0)
    found, entries = bounded(problem)
    points = problem.domain.sample(40, size, 1.0, torch.Generator().manual_seed(seed))
    attained = derivatives(problem.network, points)
    slack = ROUNDING * (1.0 + attained.abs().amax())
    moving = points.amax(0) > points.amin(0)
    norms = torch.linalg.matrix_norm(attained[:, :, moving], ORDER[p]) if bool(moving.any()) else torch.zeros(1)
    assert found.value is not None
    wrong = (attained < entries.lower - slack) | (attained > entries.upper + slack)
    return int(wrong.sum()) + int((norms > found.value * (1 + ROUNDING)).sum())


@pytest.mark.parametrize("seed", range(12))
def test_no_derivative_is_outside(seed: int) -> None:
    assert outside(seed) == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12, 500))
def test_no_derivative_is_outside_of_many(seed: int) -> None:
    assert outside(seed) == 0


def outside_of_a_graph(seed: int) -> int:
    """The same for a graph out of all operators with a rule."""
    program = random_program(seed)
    graph = captured(program, *program.shapes)
    network = build(graph, range(len(graph.outputs)))
    size, generator = network.input.size, torch.Generator().manual_seed(seed)
    centre = torch.randn(size, dtype=torch.float64, generator=generator)
    where = (Box(centre - 0.3, centre + 0.3), Ball(centre, 0.5, "2"), WholeSpace(), Ball(centre, 0.1, "1"))[seed % 4]
    _, entries = bounded(Problem(graph, network, "inf", where, 0, Deadline.after(2.0), lambda _: None))
    attained = jacobians(network, where.sample(30, size, 1.0, generator))
    slack = ROUNDING * (1.0 + attained.abs())
    return int(((attained < entries.lower - slack) | (attained > entries.upper + slack)).sum())


@pytest.mark.parametrize("seed", range(16))
def test_no_derivative_of_a_random_graph_is_outside(seed: int) -> None:
    assert outside_of_a_graph(seed) == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(16, 500))
def test_no_derivative_of_many_random_graphs_is_outside(seed: int) -> None:
    assert outside_of_a_graph(seed) == 0


def test_where_time_ends_amid_vertices_the_intervals_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*_: object) -> None:
        raise OutOfTime

    monkeypatch.setattr(vertices, "_extremes", late)
    found, _ = bounded(problem_of(perceptron(0, 3, 5, 4, 2), (1, 3), "2", box(3)))
    assert found.status == "ok"
    assert found.details["way"] == "linear bounds"


def perceptron(seed: int, *widths: int) -> nn.Sequential:
    torch.manual_seed(seed)
    layers = [layer for i, o in itertools.pairwise(widths) for layer in (nn.Linear(i, o), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def box(size: int) -> Box:
    return Box(-torch.ones(size, dtype=torch.float64), torch.ones(size, dtype=torch.float64))


def extremes(module: nn.Sequential, problem: Any) -> tuple[Tensor, Tensor, Tensor]:
    """The least and the largest entries, and largest sums of magnitudes of rows, over the open neurons' patterns."""
    activations = [node for node in problem.network.nodes if isinstance(node, Activation)]
    ends = [node.scalar.slopes(*_ends(problem, node)) for node in activations]
    choices = [
        [(low, high) if low < high else (low,) for low, high in zip(*(e.tolist() for e in end), strict=True)]
        for end in ends
    ]
    weights = [layer.weight.detach() for layer in module if isinstance(layer, nn.Linear)]
    found = []
    for slopes in itertools.product(*(c for choice in choices for c in choice)):
        matrix, rest = weights[0], list(slopes)
        for weight, choice in zip(weights[1:], choices, strict=True):
            own, rest = rest[: len(choice)], rest[len(choice) :]
            matrix = weight @ (torch.tensor(own, dtype=torch.float64)[:, None] * matrix)
        found.append(matrix)
    stacked = torch.stack(found)
    return stacked.amin(0), stacked.amax(0), stacked.abs().sum(2).amax(0)


def _ends(problem: Any, node: Activation) -> tuple[Tensor, Tensor]:
    known = problem.local.intervals[node.source]
    return known.lower, known.upper


@pytest.mark.parametrize("seed", range(4))
def test_few_open_neurons_are_enumerated(seed: int) -> None:
    module = perceptron(seed, 3, 5, 4, 2)
    problem = problem_of(module, (1, 3), "2", box(3))
    found, entries = bounded(problem)
    lower, upper, sums = extremes(module, problem)
    assert found.details["way"] == "vertices"
    torch.testing.assert_close(entries.lower, lower, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(entries.upper, upper, rtol=1e-9, atol=1e-11)
    assert bool((entries.lower <= lower).all() & (entries.upper >= upper).all())
    assert entries.sums is not None
    assert bool((entries.sums >= sums).all())
    torch.testing.assert_close(entries.sums, sums, rtol=1e-9, atol=1e-11)


def test_more_open_neurons_than_exponents_of_a_double() -> None:
    """2^1100 vertices are no float64 number."""
    found, _ = bounded(problem_of(perceptron(0, 3, 1100, 1), (1, 3), "2", WholeSpace(), 10.0))
    assert found.value is not None


@pytest.mark.parametrize("where", [WholeSpace(), box(4), Ball(torch.ones(4, dtype=torch.float64), 0.5, "2")])
def test_a_linear_network_is_exact(where: Domain) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 3))
    problem = problem_of(module, (1, 4), "2", where)
    found, entries = bounded(problem)
    matrix = module[1].weight.detach() @ module[0].weight.detach()
    assert float((entries.upper - entries.lower).max()) < 1e-10
    assert found.value == pytest.approx(float(torch.linalg.matrix_norm(matrix, 2)), rel=1e-10)


def test_linear_bounds_meet_intervals_and_are_closer() -> None:
    problem = problem_of(perceptron(1, 20, 30, 30, 2), (1, 20), "inf", Ball(torch.zeros(20).double(), 0.1, "inf"))
    known = by_intervals(problem.network, problem.local.intervals, NEVER)
    closer = by_lines(problem.network, problem.local.intervals, known, NEVER)
    assert bool((closer.lower >= known.lower).all() & (closer.upper <= known.upper).all())
    assert float(closer.magnitude.sum(1).max()) < 0.8 * float(known.magnitude.sum(1).max())


@pytest.mark.parametrize("seed", range(3))
def test_sums_of_rows_are_bounded_at_once_and_hold(seed: int) -> None:
    """What cancels between the entries of a row is not lost, and no attained row is above."""
    module = perceptron(seed, 20, 30, 30, 2)
    problem = problem_of(module, (1, 20), "inf", Ball(torch.zeros(20).double(), 0.1, "inf"))
    value, entries = bounded(problem)
    points = problem.domain.sample(200, 20, 1.0, torch.Generator().manual_seed(seed))
    attained = derivatives(problem.network, points).abs().sum(2).amax(0)
    assert entries.sums is not None
    assert bool((attained <= entries.sums).all())
    assert bool((entries.sums < 0.99 * entries.magnitude.sum(1)).all())
    assert value.value == pytest.approx(float(entries.sums.max()), rel=1e-12)


@pytest.mark.parametrize("p", ["1", "inf"])
def test_products_of_norms_are_far_above(p: Any) -> None:
    problem = problem_of(perceptron(2, 10, 20, 20, 3), (1, 10), p, Ball(torch.zeros(10).double(), 0.05, p))
    found, _ = bounded(problem)
    walked = autolip(problem).value
    assert walked is not None
    assert found.value is not None
    assert found.value < 0.6 * walked


class Monotone(nn.Module):
    """Weights above zero, all but the last input's, which are below."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.Sequential(nn.Linear(3, 40), nn.Tanh(), nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 2))
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                layer.weight.data.abs_()
        self.layers[0].weight.data[:, 2] *= -1.0

    def forward(self, x: Tensor) -> Tensor:
        """The perceptron."""
        return self.layers(x)


@pytest.mark.parametrize("where", [WholeSpace(), box(3)])
def test_a_derivative_that_cannot_be_negative_is_not_by_rounding(where: Domain) -> None:
    _, entries = bounded(problem_of(Monotone(), (1, 3), "inf", where))
    assert bool((entries.lower[:, :2] >= 0.0).all())
    assert bool((entries.upper[:, 2] <= 0.0).all())
    assert bool((entries.upper[:, :2] > 0.0).all())


def test_an_input_that_is_not_read_has_derivatives_of_zero() -> None:
    module = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
    module[0].weight.data[:, 1] = 0.0
    _, entries = bounded(problem_of(module, (1, 3), "2", box(3)))
    assert torch.equal(entries.lower[:, 1], torch.zeros(2).double())
    assert torch.equal(entries.upper[:, 1], torch.zeros(2).double())


def test_a_weight_that_its_own_error_may_turn_round_has_both_signs() -> None:
    matrix = torch.tensor([[1e-3, -1e-20, 0.0]], dtype=torch.float64)
    up, never = torch.tensor([True]), torch.tensor([False])
    found = moved(Dense((1,), (3,), matrix.T, error=1e-10), Signs(up, never))
    assert found.above.tolist() == [True, True, False]
    assert found.below.tolist() == [False, True, False]


class UnitLength(nn.Module):
    """Vectors of length 1."""

    def forward(self, x: Tensor) -> Tensor:
        """Along the last axis."""
        return nn.functional.normalize(x, dim=-1, eps=0.5)


@pytest.mark.parametrize(
    "layer",
    [nn.Softmax(-1), nn.LayerNorm(5), nn.RMSNorm(5, eps=0.1), nn.GroupNorm(2, 6), UnitLength()],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_that_mix_their_entries_have_derivatives_of_their_own(layer: nn.Module) -> None:
    torch.manual_seed(0)
    shape = (1, 6, 2) if isinstance(layer, nn.GroupNorm) else (1, 2, 5)
    size = torch.Size(shape).numel()
    for parameter in layer.parameters():
        parameter.data.normal_()
    where = Box(torch.rand(size).double() - 0.3, torch.rand(size).double() + 0.8)
    problem = problem_of(layer, shape, "2", where)
    (node,) = [node for node in problem.network.nodes if isinstance(node, Nonlinear)]
    assert node.partials is not None
    _, entries = bounded(problem)
    attained = derivatives(problem.network, where.sample(50, size, 1.0, torch.Generator().manual_seed(1)))
    assert bool((attained >= entries.lower - ROUNDING).all() & (attained <= entries.upper + ROUNDING).all())
    index = node.partials.index
    apart = torch.ones(size, size, dtype=torch.bool)
    for group in index:
        apart[group[:, None], group] = False
    assert not bool(entries.magnitude[apart].any())


def test_a_domain_of_one_point_has_the_derivatives_there() -> None:
    """A neuron that cannot vary on the domain has a slope all the same."""
    point = torch.full((4,), 0.3, dtype=torch.float64)
    problem = problem_of(perceptron(5, 4, 6, 3), (1, 4), "2", Box(point, point))
    found, entries = bounded(problem)
    (expected,) = derivatives(problem.network, point[None])
    torch.testing.assert_close(entries.lower, expected, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(entries.upper, expected, rtol=1e-9, atol=1e-10)
    assert found.value == 0.0


class Root(nn.Module):
    """Steep without end at 0."""

    def forward(self, x: Tensor) -> Tensor:
        """The root of the first entry."""
        return torch.sqrt(x[:, :1]) + x[:, 1:]


def test_without_a_bound_the_reason_is_told() -> None:
    where = Box(torch.zeros(2).double(), torch.ones(2).double())
    found, entries = bounded(problem_of(Root(), (1, 2), "2", where))
    assert found.status == "skipped"
    assert "no finite bound" in str(found.reason)
    assert entries.lower[0, 0] >= 0.0
    assert entries.upper[0, 0] == float("inf")
    assert entries.upper[0, 1] == pytest.approx(1.0)
