"""The lower bound is attained by its witness, stays below every upper bound, and finds known constants."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from app.contract.options import GradientOptions
from app.lipschitz.deadline import Deadline
from app.lipschitz.domain import Ball, Box, Domain, WholeSpace, vector_norm
from app.lipschitz.lower import attained, pairs
from app.lipschitz.lower import gradient as gradients
from app.lipschitz.lower.gradient import gradient
from app.lipschitz.network.build import build
from app.lipschitz.problem import Estimate, Problem
from tests.lipschitz.helpers import ORDER, autolip_of, captured

OPTIONS = GradientOptions(steps=40, seconds=60.0, scouts=0)


def ascend(function: Callable[..., object], size: int, p: str = "2", domain: Domain | None = None):
    graph = captured(function, (1, size))
    network = build(graph, [0])
    problem = Problem(
        graph, network, p, domain or WholeSpace(), seed=1, deadline=Deadline.after(60), progress=lambda _: None
    )
    return problem, gradient(problem, OPTIONS)


def slope(problem: Problem, estimate: Estimate) -> float:
    witness = estimate.witness
    assert witness is not None
    x, y = witness.x[None], witness.y[None]
    rise = vector_norm(problem.network(x) - problem.network(y), problem.p)
    return float(rise / vector_norm(x - y, problem.p))


@pytest.mark.parametrize("p", ["1", "2", "inf"])
def test_a_linear_map_reaches_its_norm_and_never_exceeds_it(p: str) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(7, 12, dtype=torch.float64)
    problem, estimate = ascend(lambda x: F.linear(x, matrix), 12, p)
    truth = float(torch.linalg.matrix_norm(matrix, ORDER[p]))
    assert truth * (1 - 1e-6) <= estimate.value <= truth
    assert slope(problem, estimate) == pytest.approx(estimate.value, rel=1e-8)


def test_two_neurons_have_constant_one() -> None:
    """f(x) = relu(x + 1) - relu(x - 1): autodiff at a kink can be wrong, a pair cannot."""
    _, estimate = ascend(lambda x: F.relu(x + 1) - F.relu(x - 1), 1)
    assert 1 - 1e-6 <= estimate.value <= 1


def test_a_kink_does_not_fool_it() -> None:
    """2 x - relu(x) + relu(-x) is x, but autodiff at zero says 2."""
    _, estimate = ascend(lambda x: 2 * x - F.relu(x) + F.relu(-x), 1, domain=Box(-torch.ones(1), torch.ones(1)))
    assert estimate.value <= 1


def test_gelu_reaches_its_steepest_slope() -> None:
    _, estimate = ascend(F.gelu, 1)
    assert 1.1289 <= estimate.value <= 1.1289042


@pytest.mark.parametrize("p", ["1", "2", "inf"])
def test_witnesses_stay_in_the_domain(p: str) -> None:
    torch.manual_seed(1)
    first, second = torch.randn(9, 5, dtype=torch.float64), torch.randn(3, 9, dtype=torch.float64)

    def function(x: torch.Tensor) -> torch.Tensor:
        return F.linear(torch.tanh(F.linear(x, first)), second)

    box = Box(torch.full((5,), 0.1, dtype=torch.float64), torch.full((5,), 0.2, dtype=torch.float64))
    ball = Ball(torch.ones(5, dtype=torch.float64), 0.05, p)
    for domain in (box, ball):
        problem, estimate = ascend(function, 5, p, domain)
        points = torch.stack([estimate.witness.x, estimate.witness.y])
        assert torch.equal(domain.project(points), points)
        assert 0 < estimate.value <= autolip_of(problem.network, p)


def test_the_same_seed_gives_the_same_answer() -> None:
    matrix = torch.randn(4, 4, dtype=torch.float64)
    answers = [ascend(lambda x: F.relu(F.linear(x, matrix)), 4)[1].value for _ in range(2)]
    assert answers[0] == answers[1]


def test_dear_ascents_leave_flat_pairs_behind_and_find_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(2)
    first, last = torch.randn(300, 200).double() / 14, torch.randn(5, 300).double() / 17
    points = []
    function = gradients.safe_slopes
    monkeypatch.setattr(gradients, "safe_slopes", lambda x, *rest: points.append(len(x)) or function(x, *rest))
    found = {}
    for dear in (0.0, torch.inf):
        monkeypatch.setattr(gradients, "DEAR", dear)
        found[dear] = ascend(lambda x: F.linear(torch.tanh(F.linear(x, first)), last), 200)[1].value
    assert sum(points[:40]) < 0.6 * sum(points[40:])
    assert sorted(set(points)) == [2, 4, 8]
    assert found[0.0] >= 0.97 * found[torch.inf]


def test_the_first_pair_may_take_longer_than_the_search_did(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ResNet-18 nothing was attained, with minutes left: digits of one pair take longer than half its search."""
    monkeypatch.setattr(pairs, "EVALUATING", 0.0)
    monkeypatch.setattr(pairs, "EVALUATING_S", 0.0)
    monkeypatch.setattr(attained, "GRACE_S", 0.0)
    matrix = torch.randn(5, 30, dtype=torch.float64)
    _, estimate = ascend(lambda x: F.relu(F.linear(x, matrix)), 30)
    assert estimate.value > 0.5 * float(torch.linalg.matrix_norm(matrix, 2))
