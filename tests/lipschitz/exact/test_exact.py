"""The exact constant, against brute force over all activation patterns and known answers."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from torch import Tensor, nn

from app.contract.options import ExactOptions
from app.lipschitz.deadline import Deadline
from app.lipschitz.domain import Ball, Box, Domain, WholeSpace, vector_norm
from app.lipschitz.errors import MethodSkipped
from app.lipschitz.exact.exact import exact
from app.lipschitz.exact.phases.enumeration import Enumeration
from app.lipschitz.network.build import build
from app.lipschitz.problem import Estimate, Problem
from tests.effort import examples, sampled
from tests.lipschitz.helpers import ORDER, captured
from tests.lipschitz.onnx_networks import published

KNOWN = {
    "exlipbab_iris": 11.634355134114875,
    "exlipbab_wine12": 1.7433699967107172,
    "exlipbab_abalone": 11.121602332235268,
}
PHASES: dict[str, tuple[Callable[[Tensor], Tensor], list[tuple[float, float, float, float]]]] = {
    # (from, to, slope, intercept) of every piece
    "relu": (F.relu, [(-np.inf, 0, 0, 0), (0, np.inf, 1, 0)]),
    "leaky": (lambda x: F.leaky_relu(x, 0.25), [(-np.inf, 0, 0.25, 0), (0, np.inf, 1, 0)]),
    "abs": (torch.abs, [(-np.inf, 0, -1, 0), (0, np.inf, 1, 0)]),
    "hardtanh": (F.hardtanh, [(-np.inf, -1, 0, -1), (-1, 1, 1, 0), (1, np.inf, 0, 1)]),
}


def problem_of(function: Callable[..., object], size: int, p: str, domain: Domain | None = None, seconds: float = 60):
    graph = captured(function, (1, size))
    where = domain or WholeSpace()
    deadline = Deadline.after(seconds)
    return Problem(graph, build(graph, [0]), p, where, seed=1, deadline=deadline, progress=lambda _: None)


def solve(problem: Problem, gap: float = 1e-6, seconds: float = 60.0) -> tuple[float, float, dict[str, Any]]:
    """The bracket, its lower end evaluated anew."""
    found = exact(problem, ExactOptions(gap=gap, seconds=seconds))
    assert found.value is not None
    return attained(problem, found), found.value, found.details


def attained(problem: Problem, found: Estimate) -> float:
    witness = found.witness
    assert witness is not None
    x, y = witness.x[None], witness.y[None]
    assert torch.equal(problem.domain.project(x), x)
    assert torch.equal(problem.domain.project(y), y)
    slope = float(vector_norm(problem.network(x) - problem.network(y), problem.p) / vector_norm(x - y, problem.p))
    assert witness.value <= slope * (1.0 + 1e-12)  # the slope of this line is rounded, the witness is not
    assert witness.value == pytest.approx(slope, rel=1e-6, abs=1e-9)
    return witness.value


def brute_force(layers: Sequence[tuple[np.ndarray, np.ndarray]], act: str, p: str, box: float | None) -> float:
    """sup ||J||_p over all patterns whose polytope has an interior, one linear program each."""
    pieces = PHASES[act][1]
    hidden = sum(len(bias) for _, bias in layers[:-1])
    n = layers[0][0].shape[1]
    best = 0.0
    for choice in itertools.product(range(len(pieces)), repeat=hidden):
        jacobian, offset, rows, rest = np.eye(n), np.zeros(n), [], list(choice)
        for weight, bias in layers[:-1]:
            own = [pieces[rest.pop(0)] for _ in bias]
            pre, shift = weight @ jacobian, weight @ offset + bias
            for (low, high, _, _), g, c in zip(own, pre, shift, strict=True):
                rows += [np.append(-g, c - low)] * int(np.isfinite(low)) + [np.append(g, high - c)] * int(
                    np.isfinite(high)
                )
            jacobian = np.array([s for _, _, s, _ in own])[:, None] * pre
            offset = np.array([s * c + t for (_, _, s, t), c in zip(own, shift, strict=True)])
        value = np.linalg.norm(layers[-1][0] @ jacobian, ORDER[p])
        if value > best and has_interior(np.array(rows), box):
            best = value
    return best


def has_interior(rows: np.ndarray, box: float | None) -> bool:
    """A ball of radius 1e-9 fits into G x <= h."""
    n = rows.shape[1] - 1
    lengths = np.linalg.norm(rows[:, :-1], axis=1)
    if bool((rows[lengths == 0, -1] < 0).any()):
        return False
    rows = rows[lengths > 0]
    left = np.column_stack([rows[:, :-1], np.linalg.norm(rows[:, :-1], axis=1)])
    bounds = [(None, None) if box is None else (-box, box)] * n + [(None, 1.0)]
    answer = linprog(np.append(np.zeros(n), -1.0), left, rows[:, -1], bounds=bounds)
    return answer.status == 0 and answer.x[-1] > 1e-9


def random_layers(sizes: Sequence[int], seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=(o, i)), rng.normal(size=o)) for i, o in itertools.pairwise(sizes)]


def chain(layers: Sequence[tuple[np.ndarray, np.ndarray]], act: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    weights = [(torch.from_numpy(w), torch.from_numpy(b)) for w, b in layers]

    def function(x: Tensor) -> Tensor:
        for weight, bias in weights[:-1]:
            x = act(F.linear(x, weight, bias))
        return F.linear(x, *weights[-1])

    return function


@examples(15)
@given(
    st.integers(0, 10_000),
    st.sampled_from([(2, 3, 3, 1), (1, 4, 2, 2), (3, 3, 2, 2), (2, 2, 2, 2, 1), (4, 5, 1)]),
    st.sampled_from(["1", "2", "inf"]),
    st.sampled_from(["relu", "leaky", "abs"]),
    st.sampled_from([None, 1.5]),
)
def test_equals_brute_force(seed: int, sizes: tuple[int, ...], p: str, act: str, box: float | None) -> None:
    layers = random_layers(sizes, seed)
    truth = brute_force(layers, act, p, box)
    domain = None if box is None else Box(torch.full((1,), -box), torch.full((1,), box))
    lower, upper, details = solve(problem_of(chain(layers, PHASES[act][0]), sizes[0], p, domain))
    assert details["status"] == "closed"
    assert lower <= truth * (1 + 1e-9)
    assert upper >= truth * (1 - 1e-9)
    assert upper <= lower * (1 + 1e-5)


@examples(15)
@given(
    st.integers(0, 100_000), st.sampled_from([(2, 3, 3, 1), (3, 3, 3, 1), (1, 3, 3, 2)]), st.sampled_from(["1", "2"])
)
def test_degenerate_regions_count_only_with_an_interior(seed: int, sizes: tuple[int, ...], p: str) -> None:
    """Small integers: many faces coincide, touch, or vanish."""
    rng = np.random.default_rng(seed)
    layers = [(rng.integers(-1, 2, (o, i)) * 1.0, rng.integers(-1, 2, o) * 1.0) for i, o in itertools.pairwise(sizes)]
    truth = brute_force(layers, "relu", p, None)
    lower, upper, details = solve(problem_of(chain(layers, F.relu), sizes[0], p))
    assert lower <= truth * (1 + 1e-9)
    assert upper >= truth * (1 - 1e-9)
    assert upper <= lower * (1 + 1e-5) + 1e-9, details


@pytest.mark.parametrize("p", ["1", "2", "inf"])
@pytest.mark.parametrize("seed", range(3))
def test_two_kinks_equal_brute_force(p: str, seed: int) -> None:
    layers = random_layers((2, 3, 2, 2), seed)
    truth = brute_force(layers, "hardtanh", p, None)
    lower, upper, _ = solve(problem_of(chain(layers, F.hardtanh), 2, p))
    assert lower <= truth * (1 + 1e-9)
    assert truth * (1 - 1e-9) <= upper <= lower * (1 + 1e-5)


def test_two_neurons_have_constant_one() -> None:
    """relu(x + 1) - relu(x - 1): the pattern that would give 0 and 1 only; no pattern gives 2."""
    lower, upper, _ = solve(problem_of(lambda x: F.relu(x + 1) - F.relu(x - 1), 1, "2"))
    assert 1 - 1e-6 <= lower <= 1 <= upper <= 1 + 1e-6


def test_opposite_phases_that_only_touch_do_not_count() -> None:
    """relu(x - 1) - relu(1 - x) is x - 1; both neurons are active on an empty set only."""
    weight, bias = torch.tensor([[1.0], [-1.0]]).double(), torch.tensor([-1.0, 1.0]).double()
    function = chain([(weight.numpy(), bias.numpy()), (np.array([[1.0, -1.0]]), np.zeros(1))], F.relu)
    lower, upper, _ = solve(problem_of(function, 1, "2"))
    assert 1 - 1e-6 <= lower <= 1 <= upper <= 1 + 1e-6


@pytest.mark.parametrize("p", ["1", "2", "inf"])
def test_nonnegative_weights_give_the_norm_of_the_product(p: str) -> None:
    layers = [(np.abs(w), b) for w, b in random_layers((3, 6, 5, 2), 4)]
    truth = np.linalg.norm(layers[2][0] @ layers[1][0] @ layers[0][0], ORDER[p])
    lower, upper, _ = solve(problem_of(chain(layers, F.relu), 3, p))
    assert lower == pytest.approx(truth, rel=1e-6)
    assert truth <= upper <= truth * (1 + 1e-6)


@pytest.mark.parametrize("width", [1e-3, 1e-6, 1e-9, 1e-12])
def test_a_thin_region_is_not_lost(width: float) -> None:
    """A slope of 100 on [0, width] only: 100 relu(x) - 200 relu(x - width) + 100 relu(x - 2 width)."""
    shifts = np.array([0.0, -width, -2 * width])
    layers = [(np.ones((3, 1)), shifts), (np.array([[100.0, -200.0, 100.0]]), np.zeros(1))]
    lower, upper, _ = solve(problem_of(chain(layers, F.relu), 1, "2"), seconds=5.0)
    assert upper >= 100 * (1 - 1e-12)
    assert lower <= 100
    if width >= 1e-6:
        assert upper <= lower * (1 + 1e-5)


def test_rows_without_a_gradient_are_decided_by_their_constants() -> None:
    """A dead neuron of the first layer leaves the second a constant, positive or negative or at the kink itself."""
    first = (np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([0.0, -1.0]))
    second = (np.array([[0.0, 3.0], [1.0, 5.0], [0.0, 1.0]]), np.array([0.0, 1.0, 2.0]))
    last = (np.array([[7.0, 1.0, 9.0]]), np.zeros(1))
    lower, upper, _ = solve(problem_of(chain([first, second, last], F.relu), 2, "2"))
    assert 1 - 1e-6 <= lower <= 1 <= upper <= 1 + 1e-6


class Residual(nn.Module):
    """relu(x + B relu(A x + a)), then a concatenation of both, then a sum that is read twice."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first, self.second, self.last = nn.Linear(2, 3), nn.Linear(3, 2), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.first(x))
        outer = x + self.second(inner)
        joined = torch.cat([F.leaky_relu(outer, 0.5), inner], 1)
        return self.last(joined) + outer


@pytest.mark.parametrize("p", ["1", "2", "inf"])
@pytest.mark.parametrize("domain", [None, Box(-torch.ones(1), torch.ones(1)), "ball"])
def test_skips_and_concatenations_agree_with_dense_sampling(p: str, domain: Any) -> None:
    where = Ball(torch.zeros(1), 1.0, p) if domain == "ball" else domain
    problem = problem_of(Residual().double(), 2, p, where)
    lower, upper, details = solve(problem, seconds=10.0)
    points = problem.domain.sample(2000, 2, 3.0, torch.Generator().manual_seed(0))
    x = points.requires_grad_(True)
    rows = [torch.autograd.grad(column.sum(), x, retain_graph=True)[0] for column in problem.network(x).T]
    sampled = float(torch.linalg.matrix_norm(torch.stack(rows, 1), ORDER[p]).max())
    assert sampled <= upper
    assert sampled <= lower * (1 + 1e-6)
    if domain != "ball":
        assert details["status"] == "closed"


def test_a_bounded_domain_may_lower_the_constant() -> None:
    function = lambda x: F.relu(x) + F.relu(x - 2.0)  # noqa: E731
    assert solve(problem_of(function, 1, "2"))[1] == pytest.approx(2.0, rel=1e-6)
    box = Box(-torch.ones(1), torch.ones(1))
    lower, upper, _ = solve(problem_of(function, 1, "2", box))
    assert 1 - 1e-6 <= lower <= 1 <= upper <= 1 + 1e-6


def test_a_network_without_biases_is_decided_on_cones() -> None:
    layers = [(w, 0 * b) for w, b in random_layers((2, 3, 3, 2), 8)]
    truth = brute_force(layers, "relu", "2", None)
    lower, upper, _ = solve(problem_of(chain(layers, F.relu), 2, "2"))
    assert lower <= truth * (1 + 1e-9)
    assert truth * (1 - 1e-9) <= upper <= lower * (1 + 1e-5)


def test_a_deep_network_of_two_inputs_closes() -> None:
    """100 neurons in five layers; dense sampling stays below the constant."""
    layers = [(w / len(w) ** 0.5, b) for w, b in random_layers((2, 20, 20, 20, 20, 20, 2), 7)]
    problem = problem_of(chain(layers, F.relu), 2, "2")
    lower, upper, details = solve(problem)
    assert details["status"] == "closed"
    points = problem.domain.sample(20_000, 2, 1.0, torch.Generator().manual_seed(0)).requires_grad_(True)
    rows = [torch.autograd.grad(column.sum(), points, retain_graph=True)[0] for column in problem.network(points).T]
    sampled = float(torch.linalg.matrix_norm(torch.stack(rows, 1), 2).max())
    assert 0.5 * lower < sampled <= upper


def test_cells_that_are_too_many_are_left_to_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Enumeration, "step", lambda _: time.sleep(0.01))
    layers = random_layers((2, 3, 3, 2), 5)
    truth = brute_force(layers, "relu", "2", None)
    lower, upper, details = solve(problem_of(chain(layers, F.relu), 2, "2"), seconds=2.0)
    assert details["status"] == "closed"
    assert truth * (1 - 1e-9) <= upper <= lower * (1 + 1e-5)


def test_slopes_of_the_output_count() -> None:
    """An activation with a slope above 1 after the last matrix."""
    first, last = random_layers((4, 6, 1), 2)

    def function(x: Tensor) -> Tensor:
        y = chain([first, last], F.relu)(x)
        return F.relu(y) - 3 * F.relu(-y)

    truth = solve(problem_of(chain([first, last], F.relu), 4, "2"))[1]
    lower, upper, _ = solve(problem_of(function, 4, "2"), gap=1e-3)
    points = torch.randn(5000, 4, dtype=torch.float64, requires_grad=True)
    (slopes,) = torch.autograd.grad(function(points).sum(), points)
    assert float(slopes.norm(dim=1).max()) <= upper <= 3 * truth * (1 + 1e-5)
    assert upper <= lower * 1.001


def test_an_exhausted_budget_leaves_a_valid_open_bracket() -> None:
    layers = random_layers((6, 30, 30, 30, 3), 0)
    events: list[dict[str, Any]] = []
    problem = problem_of(chain(layers, F.relu), 6, "2")
    object.__setattr__(problem, "progress", events.append)
    begun = time.monotonic()
    lower, upper, details = solve(problem, seconds=0.6)
    assert time.monotonic() - begun < 10
    assert details["status"] == "deadline"
    assert 0 < lower < upper
    uppers = [point[1] for point in details["trail"]]
    assert uppers == sorted(uppers, reverse=True)
    assert len(details["trail"]) <= 50
    assert events
    assert all(event["lower"] <= event["upper"] for event in events)


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (torch.tanh, "tanh"),
        (lambda x: F.gelu(2 * x), "gelu"),
        (lambda x: torch.softmax(x, 1), "softmax"),
    ],
)
def test_other_functions_are_refused_by_name(function: Callable[..., Tensor], named: str) -> None:
    with pytest.raises(MethodSkipped, match=named):
        exact(problem_of(function, 2, "2"), ExactOptions(gap=1e-3, seconds=1.0))


def test_a_flat_box_is_refused() -> None:
    box = Box(torch.tensor([0.0, 0.0]).double(), torch.tensor([1.0, 0.0]).double())
    with pytest.raises(MethodSkipped, match="interior"):
        exact(problem_of(F.relu, 2, "2", box), ExactOptions(gap=1e-3, seconds=1.0))


@pytest.mark.parametrize("name", sampled(["exlipbab_iris", "exlipbab_wine12", "exlipbab_abalone"], every=3))
def test_published_constants_are_enclosed_and_closed(name: str) -> None:
    weights, biases = published(name)
    assert biases is not None
    layers = list(zip(weights, biases, strict=True))
    lower, upper, _ = solve(problem_of(chain(layers, F.relu), weights[0].shape[1], "2"), gap=1e-3)
    assert lower <= KNOWN[name] * (1 + 1e-7)
    assert upper >= KNOWN[name] * (1 - 1e-7)
    assert upper <= lower * 1.001
