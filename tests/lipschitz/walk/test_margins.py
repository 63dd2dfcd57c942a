"""Constants of all differences of two outputs: separate margins as oracle, all norms, all kinds of last step."""

from __future__ import annotations

import math
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from app.lipschitz.deadline import Deadline
from app.lipschitz.domain import Ball, Box, Domain, WholeSpace
from app.lipschitz.errors import InvalidRequest
from app.lipschitz.files import analyze
from app.lipschitz.lipsdp.lipsdp import lipsdp
from app.lipschitz.lipsdp.margins import lipsdp_margins
from app.lipschitz.methods import IMPLEMENTATIONS
from app.lipschitz.operators.norm import Norm
from app.lipschitz.problem import Problem
from app.lipschitz.request import Request
from app.lipschitz.robustness.margins import ByWalk, local_margins
from app.lipschitz.walk.margins import PAIR_LENGTH, walked
from tests.effort import sampled
from tests.lipschitz.helpers import ORDER, autolip_of, captured, jacobian_norms, network_of
from tests.lipschitz.onnx_networks import mlp, published

PAIRS = {"kind": "margins"}
LIPSDP = Request.parse({"methods": ["lipsdp"]}).options["lipsdp"]
NORMS: list[Norm] = ["1", "2", "inf"]


def weights(*sizes: int, seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.standard_normal((o, i)) / np.sqrt(i) for i, o in pairwise(sizes)]


def problem_of(module: nn.Module, size: int, p: Norm, domain: Domain | None = None) -> Problem:
    graph, network = captured(module, (1, size)), network_of(module, (1, size))
    return Problem(graph, network, p, domain or WholeSpace(), 0, Deadline.after(60.0), lambda _: None)


def pairs_of(data: bytes, method: str, **fields: Any) -> dict[tuple[int, int], float]:
    (record,) = analyze(data, {"methods": [method], "target": PAIRS} | fields)["result"]["estimates"]
    assert record["value"] == max(value for _, _, value in record["details"]["pairs"])
    return {(i, j): value for i, j, value in record["details"]["pairs"]}


DOMAINS = [{"kind": "all"}, {"kind": "box", "lower": -0.2, "upper": 0.3}]


@pytest.mark.parametrize(
    ("act", "domain", "method"), sampled(("Relu", "Tanh"), DOMAINS, ("autolip", "lipsdp"), every=2)
)
def test_every_pair_equals_its_own_margin(method: str, act: str, domain: dict[str, Any]) -> None:
    data = mlp(weights(6, 8, 7, 4), act=act)
    found = pairs_of(data, method, domain=domain)
    assert list(found) == list(combinations(range(4), 2))
    for (i, j), value in found.items():
        target = {"kind": "margin", "i": i, "j": j}
        apart = analyze(data, {"methods": [method], "target": target, "domain": domain})["result"]["upper"]["value"]
        assert value == pytest.approx(apart, rel=1e-6)


@pytest.mark.parametrize("method", sampled(["autolip", "lipsdp"], every=2))
def test_no_pair_exceeds_the_whole_by_more_than_the_root_of_two(method: str) -> None:
    data = mlp(*published("lipsdp_mnist"))
    whole = analyze(data, {"methods": [method]})["result"]["upper"]["value"]
    found = pairs_of(data, method)
    assert len(found) == 45
    assert max(found.values()) <= math.sqrt(2.0) * whole * (1.0 + 1e-6)


@pytest.mark.parametrize("p", NORMS)
def test_a_linear_map_has_exact_constants(p: Norm) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(5, 4)
    found = walked(problem_of(layer, 5, p))
    dual = {"1": math.inf, "2": 2.0, "inf": 1.0}[p]
    rows = layer.weight.detach()
    exact = torch.stack([torch.linalg.vector_norm(rows - row, dual, dim=1) for row in rows])
    assert bool((found >= exact).all())
    torch.testing.assert_close(found, exact, rtol=1e-12, atol=0.0)


LAST = [nn.Softmax(1), nn.Sigmoid(), nn.LayerNorm(4), nn.Linear(4, 5)]


@pytest.mark.parametrize(("last", "p"), sampled(LAST, NORMS, every=3))
def test_pairs_hold_against_jacobians_whatever_the_last_step(last: nn.Module, p: Norm) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 4), last)
    problem = problem_of(module, 3, p)
    found = walked(problem)
    assert float(found.max()) <= PAIR_LENGTH[p] * autolip_of(problem.network, p) * (1.0 + 1e-9)
    points = torch.randn(50, 3, dtype=torch.float64)
    for i, j in combinations(range(problem.network.output.size), 2):
        apart = network_of(Difference(module, i, j), (1, 3))
        assert float(jacobian_norms(apart, p, points).max()) <= float(found[i, j])
    assert bool((found == found.T).all())
    assert not found.diagonal().any()
    assert ORDER[p] > 0


class Difference(nn.Module):
    def __init__(self, module: nn.Module, i: int, j: int) -> None:
        super().__init__()
        self.module, self.i, self.j = module, i, j

    def forward(self, x):
        y = self.module(x)
        return y[:, self.i : self.i + 1] - y[:, self.j : self.j + 1]


def test_coordinates_that_cannot_vary_do_not_count() -> None:
    ends = torch.tensor([0.0, 0.0, 0.0], dtype=torch.float64), torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64)
    layer = nn.Linear(3, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[100.0, 3.0, 0.0], [0.0, 0.0, 4.0]]))
    assert float(walked(problem_of(layer, 3, "2", Box(*ends)))[0, 1]) == pytest.approx(5.0)


def test_pieces_before_the_last_multiply() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Linear(8, 12), nn.ReLU(), nn.Unflatten(1, (1, 12)), nn.MaxPool1d(2), nn.Flatten(),
        nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3), nn.Sigmoid(),
    )  # fmt: skip
    problem = problem_of(module, 8, "2")
    found = lipsdp_margins(problem, LIPSDP)
    points = torch.randn(100, 8, dtype=torch.float64)
    for i, j, value in found.details["pairs"]:
        steepest = jacobian_norms(network_of(Difference(module, i, j), (1, 8)), "2", points).max()
        assert float(steepest) <= value <= float(walked(problem)[i, j])
    assert not found.details["whole"]


def test_a_lower_bound_is_attained_by_one_pair() -> None:
    data = mlp(weights(4, 10, 3))
    result = analyze(data, {"methods": ["lipsdp", "gradient"], "target": PAIRS})["result"]
    assert 0.8 * result["upper"]["value"] <= result["lower"]["value"] <= result["upper"]["value"]
    assert len(result["estimates"][1]["details"]["pair"]) == 2


def test_outputs_that_are_one_have_a_margin_that_does_not_vary() -> None:
    """Among constants of zero the pair of an output with itself was taken for one."""
    data = mlp([*weights(4, 5), np.zeros((4, 5))])
    (found,) = analyze(data, {"methods": ["gradient"], "target": PAIRS})["result"]["estimates"]
    assert (found["status"], found["value"]) == ("ok", 0.0)
    assert found["details"]["pair"][0] < found["details"]["pair"][1]


def test_a_spent_budget_leaves_the_walks_constants() -> None:
    data = mlp(weights(6, 8, 7, 4))
    late = pairs_of(data, "lipsdp", options={"lipsdp": {"seconds": 0.01}}, budget_s=1e-9)
    proved = pairs_of(data, "autolip")
    assert all(proved[pair] * (1 - 1e-9) <= late[pair] <= 4 * proved[pair] for pair in proved), "cheap norms, no worse"


def test_methods_without_pairs_say_so() -> None:
    methods = ["autolip", *(set(IMPLEMENTATIONS) - {"autolip"})]
    result = analyze(mlp(weights(2, 3, 2)), {"methods": methods, "target": PAIRS, "budget_s": 5})["result"]
    skipped = {one["method"] for one in result["estimates"] if one["status"] == "skipped"}
    assert skipped == {"frobenius", "autolip_power", "greedy_seqlip", "seqlip", "exact", "dataset", "jacobian"}
    assert "pairs" in next(one["reason"] for one in result["estimates"] if one["method"] == "exact")


@pytest.mark.parametrize("outputs", [1, 101])
def test_too_few_or_too_many_outputs_are_refused(outputs: int) -> None:
    with pytest.raises(InvalidRequest, match="2 to 100"):
        analyze(mlp(weights(3, 4, outputs)), {"methods": ["autolip"], "target": PAIRS})


@pytest.mark.parametrize("act", sampled([nn.ReLU(), nn.GELU(), nn.LeakyReLU(-0.3)], every=3))
def test_balls_in_one_batch_equal_separate_problems(act: nn.Module) -> None:
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(20, 10), act, nn.Linear(10, 10), act, nn.Linear(10, 4)).double()
    problem = problem_of(module, 20, "2")
    points = torch.randn(3, 20, dtype=torch.float64)
    radii = torch.tensor([1e-3, 0.5, 100.0], dtype=torch.float64)
    asked = torch.tensor([[False, True, True, False]] * 3)
    found = local_margins(problem).on_balls(points, radii, torch.zeros(3, dtype=torch.int64), asked)
    assert bool((torch.isfinite(found) == asked).all())
    for row, (point, radius) in enumerate(zip(points, radii.tolist(), strict=True)):
        ball = Ball(point, radius, "2")
        alone = lipsdp(problem_of(Difference(module, 0, 1), 20, "2", ball), LIPSDP).value
        assert alone is not None
        assert alone * (1.0 - 1e-6) <= float(found[row, 1]) <= 1.01 * alone
        inside = ball.sample(30, 20, 1.0, torch.Generator().manual_seed(0))
        apart = network_of(Difference(module, 0, 2), (1, 20))
        assert float(jacobian_norms(apart, "2", inside).max()) <= float(found[row, 2])


def test_the_walk_serves_balls_of_other_norms_and_networks() -> None:
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(5, 10), nn.ReLU(), nn.Linear(10, 3))
    problem = problem_of(module, 5, "inf")
    local = local_margins(problem)
    assert isinstance(local, ByWalk)
    points, predicted = torch.randn(2, 5, dtype=torch.float64), torch.tensor([0, 2])
    asked = torch.ones(2, 3, dtype=torch.bool)
    small, large = (local.on_balls(points, torch.full((2,), r), predicted, asked) for r in (1e-3, 1e3))
    assert bool((small <= large).all())
    assert bool((small < 0.9 * large).any())
    assert bool((large <= walked(problem)[predicted] * (1.0 + 1e-9)).all())
