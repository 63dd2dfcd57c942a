"""Annealing, grid and data set: known constants are found, limits of time and dimension are kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from app.contract.methods import method_named
from app.contract.options import Options
from app.lipschitz.dataset import Dataset
from app.lipschitz.deadline import Deadline
from app.lipschitz.domain import Ball, Box, Domain, WholeSpace
from app.lipschitz.errors import MethodSkipped
from app.lipschitz.files import analyze
from app.lipschitz.lower.annealing import annealing
from app.lipschitz.lower.dataset import dataset
from app.lipschitz.lower.gradient import gradient
from app.lipschitz.lower.grid import grid
from app.lipschitz.lower.pairs import slopes
from app.lipschitz.network.build import build
from app.lipschitz.problem import Problem
from tests.effort import sampled
from tests.lipschitz.helpers import ORDER, captured
from tests.lipschitz.onnx_networks import mlp, published

EXACT = {
    "exlipbab_iris": 11.634355134114875,
    "exlipbab_wine12": 1.7433699967107172,
    "exlipbab_abalone": 11.121602332235268,
}


def problem(
    function: Callable[..., object], size: int, p: str = "2", domain: Domain | None = None, rows: Tensor | None = None
) -> Problem:
    graph = captured(function, (1, size))
    data = None if rows is None else Dataset(rows, None)
    deadline = Deadline.after(60)
    return Problem(graph, build(graph, [0]), p, domain or WholeSpace(), 1, deadline, lambda _: None, data)


def options(method: str, **given: Any) -> Options:
    info = method_named(method)
    assert info is not None
    return info.checked(given)


@pytest.mark.parametrize("p", ["1", "2", "inf"])
def test_a_linear_map_has_its_norm_everywhere(p: str) -> None:
    torch.manual_seed(0)
    matrix, rows = torch.randn(5, 4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    truth = float(torch.linalg.matrix_norm(matrix, ORDER[p]))
    asked = problem(lambda x: F.linear(x, matrix), 4, p, rows=rows)
    for answer in (
        annealing(asked, options("annealing", chains=3, steps=5)),
        grid(asked, options("grid", points=16)),
        dataset(asked, options("dataset")),
    ):
        assert truth * (1 - 1e-6) <= answer.value <= truth


@pytest.mark.parametrize(("name", "method"), sampled(EXACT, ["gradient", "annealing"], every=2))
def test_published_constants_are_nearly_attained(name: str, method: str) -> None:
    limit = {"gradient": 0.98, "annealing": 0.94}[method]
    result = analyze(mlp(*published(name)), {"methods": [method]})["result"]
    assert limit * EXACT[name] <= result["lower"]["value"] <= EXACT[name] * (1 + 1e-12)


def bump(centre: float) -> Callable[[Tensor], Tensor]:
    """Slope 10 on an interval of length 0.02 about `centre`, zero elsewhere."""
    return lambda x: 10.0 * (F.relu(x - centre + 0.01) - F.relu(x - centre - 0.01))


def test_the_grid_covers_the_domain_and_nothing_else() -> None:
    box = Box(torch.tensor([2.0]).double(), torch.tensor([5.0]).double())
    found = grid(problem(bump(4.3), 1, domain=box), options("grid", points=1000))
    assert found.value == pytest.approx(10.0, rel=1e-6)
    assert found.details == {"side": 1000, "points": 1000}
    assert grid(problem(bump(1.3), 1, domain=box), options("grid", points=1000)).value == 0.0
    ball = Ball(torch.tensor([3.0, 0.0]).double(), 1.0, "2")
    answer = grid(problem(lambda x: bump(2.5)(x[:, :1]), 2, domain=ball), options("grid", points=40_000))
    assert answer.value == pytest.approx(10.0, rel=1e-6)
    points = torch.stack([answer.witness.x, answer.witness.y])
    assert torch.equal(ball.project(points), points)


def test_the_grid_counts_only_dimensions_that_vary() -> None:
    with pytest.raises(MethodSkipped, match="1 to 8 input dimensions that vary, not 9"):
        grid(problem(lambda x: x, 9), options("grid"))
    lower = torch.zeros(9, dtype=torch.float64)
    upper = torch.tensor([1.0, 0, 0, 0, 0, 0, 0, 0, 2.0]).double()
    assert grid(problem(torch.sin, 9, domain=Box(lower, upper)), options("grid")).details["side"] == 100


def test_the_data_set_is_searched_inside_the_domain_only() -> None:
    rows = torch.tensor([[0.3], [0.8], [4.3]]).double()
    everywhere = dataset(problem(bump(4.3), 1, rows=rows), options("dataset"))
    assert everywhere.value == pytest.approx(10.0, rel=1e-6)
    assert everywhere.details == {"points": 3, "outside": 0, "paired": 3}
    unit = Box(torch.zeros(1).double(), torch.ones(1).double())
    within = dataset(problem(bump(4.3), 1, rows=rows, domain=unit), options("dataset"))
    assert (within.value, within.details["outside"]) == (0.0, 1)


def test_pairs_of_data_points_are_witnesses() -> None:
    """f jumps steeply between two points, and is flat at both of them."""
    rows = torch.cat([torch.tensor([[0.98], [1.02]]), torch.linspace(5, 6, 40)[:, None]]).double()
    answer = dataset(problem(bump(1.0), 1, rows=rows), options("dataset"))
    assert answer.value == pytest.approx(5.0, rel=1e-6)
    assert sorted([answer.witness.x.item(), answer.witness.y.item()]) == pytest.approx([0.98, 1.02])


def test_without_data_the_reason_is_named() -> None:
    with pytest.raises(MethodSkipped, match="names no data set"):
        dataset(problem(bump(0), 1), options("dataset"))
    far = Box(torch.full((1,), 8.0).double(), torch.full((1,), 9.0).double())
    with pytest.raises(MethodSkipped, match="no point of the data set lies in the domain"):
        dataset(problem(bump(0), 1, rows=torch.zeros(2, 1).double(), domain=far), options("dataset"))


def test_time_limits_are_kept_and_still_give_a_witness() -> None:
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(400, 400), torch.nn.ReLU(), torch.nn.Linear(400, 300))
    rows = torch.randn(5000, 400, dtype=torch.float64)
    asked = problem(layers, 400, rows=rows)
    for method, run in (("gradient", gradient), ("annealing", annealing), ("dataset", dataset)):
        begun = time.monotonic()
        answer = run(asked, options(method, seconds=0.2))
        assert time.monotonic() - begun < 5.0, method
        assert answer.value > 0, method


@pytest.mark.slow
def test_the_same_seed_gives_the_same_answer() -> None:
    data = mlp(*published("exlipbab_iris"))
    for method in ("annealing", "grid"):
        first, second = (analyze(data, {"methods": [method], "seed": 5})["result"]["lower"]["value"] for _ in "ab")
        assert first == second, method


def test_slopes_discount_what_rounding_may_add() -> None:
    """1 + x in float64 moves in steps of 2^-52: a pair closer than that would seem infinitely steep."""
    x, y = torch.zeros(3, 1).double(), torch.tensor([[2.0**-53], [1.2e-16], [1e-3]]).double()
    assert (slopes(lambda z: 1.0 + z, x, y, "2") <= 1.0).all()
    assert slopes(lambda z: 1.0 + z, x, y, "2")[2] == pytest.approx(1.0, rel=1e-9)
    assert slopes(lambda z: z, x, x, "2").tolist() == [0.0] * 3
