"""SeqLip on networks: exact on one pair, never above AutoLip, never below the network's slopes, in any graph."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from app.contract.options import GreedySeqlipOptions, SeqlipOptions
from app.lipschitz.deadline import Deadline
from app.lipschitz.errors import MethodSkipped
from app.lipschitz.files import analyze
from app.lipschitz.formulation import make_problem
from app.lipschitz.operators.norm import norm
from app.lipschitz.problem import Estimate, Problem
from app.lipschitz.request import Request
from app.lipschitz.seqlip.greedy_seqlip import greedy_seqlip
from app.lipschitz.seqlip.pairs.chain import chains
from app.lipschitz.seqlip.pairs.factors import explicit, first_factors, last_factors, middle_factors
from app.lipschitz.seqlip.seqlip import seqlip
from app.lipschitz.walk.autolip import autolip
from tests.effort import examples
from tests.lipschitz.helpers import captured, jacobian_norms
from tests.lipschitz.onnx_networks import mlp, published

OPTIONS = SeqlipOptions(seconds=20.0)
GREEDY = GreedySeqlipOptions(restarts=16, seconds=20.0)


def problem_of(function: Callable[..., object], *shapes: Sequence[int], **fields: Any) -> Problem:
    fields = {"methods": ("seqlip",), "budget_s": 60.0, **fields}
    return make_problem(captured(function, *shapes), Request.parse(fields), Deadline.after(60.0), lambda _: None)


def weights(*widths: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(o, i, dtype=torch.float64, generator=generator) for i, o in itertools.pairwise(widths)]


def chain(matrices: Sequence[Tensor], function: Callable[[Tensor], Tensor] = torch.relu) -> Callable[[Tensor], Tensor]:
    def run(x: Tensor) -> Tensor:
        for matrix in matrices[:-1]:
            x = function(F.linear(x, matrix))
        return F.linear(x, matrices[-1])

    return run


def value(estimate: Estimate) -> float:
    assert estimate.value is not None
    return estimate.value


def pair_maximum(inner: Tensor, outer: Tensor, ends: tuple[float, float] = (0.0, 1.0)) -> float:
    vertices = torch.tensor(list(itertools.product(ends, repeat=len(inner))), dtype=torch.float64)
    return float(torch.linalg.matrix_norm((outer * vertices[:, None, :]) @ inner, 2).max())


ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], tuple[float, float]]] = {
    "relu": (torch.relu, (0.0, 1.0)),
    "leaky": (lambda x: F.leaky_relu(x, 0.3), (0.3, 1.0)),
    "gelu": (F.gelu, (-0.1289045, 1.1289045)),
    "sigmoid": (torch.sigmoid, (0.0, 0.25)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("widths", [(6, 9, 5), (12, 8, 3), (2, 10, 20)])
def test_two_layers_give_the_pairs_maximum(name: str, widths: tuple[int, int, int]) -> None:
    function, ends = ACTIVATIONS[name]
    matrices = weights(*widths)
    problem = problem_of(chain(matrices, function), (1, widths[0]))
    exact = pair_maximum(*matrices, ends)
    assert exact * (1 - 1e-6) <= value(seqlip(problem, OPTIONS)) <= exact * (1 + 1e-6)
    assert value(greedy_seqlip(problem, GREEDY)) <= exact * (1 + 1e-6)
    assert value(greedy_seqlip(problem, GREEDY.model_copy(update={"search": "ascent"}))) <= exact * (1 + 1e-6)


def test_a_wider_pair_is_closed_to_the_gap() -> None:
    matrices = weights(6, 30, 5)
    found = seqlip(problem_of(chain(matrices), (1, 6)), OPTIONS)
    (row,) = found.layers
    assert row["method"] in ("branch and bound", "semidefinite")
    assert row["attained"] <= value(found) <= row["attained"] * (1 + 1e-3) * (1 + 1e-9)
    assert found.details == {"chains": 1, "pairs": 1, "pairs_not_closed": 0}


@examples(12)
@given(st.lists(st.integers(1, 8), min_size=3, max_size=6), st.integers(0, 1000), st.sampled_from(list(ACTIVATIONS)))
def test_between_the_network_and_autolip(widths: list[int], seed: int, name: str) -> None:
    problem = problem_of(chain(weights(*widths, seed=seed), ACTIVATIONS[name][0]), (1, widths[0]))
    points = torch.randn(20, widths[0], dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    bound = value(seqlip(problem, OPTIONS))
    assert bound <= value(autolip(problem, {}))
    assert float(jacobian_norms(problem.network, "2", points).max()) <= bound * (1 + 1e-12)
    assert value(greedy_seqlip(problem, GREEDY)) <= bound * (1 + 1e-9)


def test_the_product_of_pairs_is_the_published_one() -> None:
    first, second, third = weights(4, 7, 6, 3)
    u, s, vt = torch.linalg.svd(second, full_matrices=False)
    want = pair_maximum(first, s.sqrt()[:, None] * vt) * pair_maximum(u * s.sqrt(), third)
    found = seqlip(problem_of(chain([first, second, third]), (1, 4)), OPTIONS)
    assert value(found) == pytest.approx(want, rel=1e-8)
    assert [row["width"] for row in found.layers] == [7, 6]


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 9), nn.Linear(9, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(x + self.second(torch.relu(self.first(x)))))


def test_a_residual_branch_is_a_chain() -> None:
    torch.manual_seed(0)
    module = Residual()
    problem = problem_of(module, (1, 6))
    branch = pair_maximum(module.first.weight.detach(), module.second.weight.detach())
    head = norm(problem.network.nodes[-1].terms[0].operator).upper
    assert value(seqlip(problem, OPTIONS)) == pytest.approx((1 + branch) * head, rel=1e-8)


def test_two_branches_side_by_side() -> None:
    a, b = weights(5, 7, 4, seed=1), weights(5, 6, 3, seed=2)
    problem = problem_of(lambda x: torch.cat([chain(a)(x), chain(b)(x)], 1), (1, 5))
    want = float(np.hypot(pair_maximum(*a), pair_maximum(*b)))
    found = seqlip(problem, OPTIONS)
    assert value(found) == pytest.approx(want, rel=1e-8)
    assert found.details["chains"] == 2


def test_a_value_that_is_read_twice_breaks_the_chain() -> None:
    first, second, third = weights(5, 7, 7, 4)

    def function(x: Tensor) -> Tensor:
        hidden = torch.relu(F.linear(x, first))
        return F.linear(hidden + torch.relu(F.linear(hidden, second)), third)

    problem = problem_of(function, (1, 5))
    (only,) = chains(problem.network)
    assert len(only.activations) == 1
    assert value(seqlip(problem, OPTIONS)) <= value(autolip(problem, {}))


def test_a_box_uses_the_slopes_that_occur_there() -> None:
    matrices = weights(4, 8, 3)
    box = {"kind": "box", "lower": 0.9, "upper": 1.0}
    problem = problem_of(chain(matrices), (1, 4), domain=box)
    before = F.linear(torch.full((4,), 0.95, dtype=torch.float64), matrices[0])
    reach = 0.05 * matrices[0].abs().sum(1)
    choices = [
        (1.0,) if low > 0 else (0.0,) if high < 0 else (0.0, 1.0)
        for low, high in zip(before - reach, before + reach, strict=True)
    ]
    vertices = torch.tensor(list(itertools.product(*choices)), dtype=torch.float64)
    want = float(torch.linalg.matrix_norm((matrices[1] * vertices[:, None, :]) @ matrices[0], 2).max())
    assert len(vertices) < 2**8
    assert value(seqlip(problem, OPTIONS)) == pytest.approx(want, rel=1e-8)


def test_convolutions_and_a_dense_head() -> None:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.ReLU(), nn.Conv2d(4, 6, 2), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3))
    problem = problem_of(net, (1, 1, 7, 7))
    found = seqlip(problem, OPTIONS)
    points = torch.randn(30, 49, dtype=torch.float64)
    assert float(jacobian_norms(problem.network, "2", points).max()) <= value(found) < 0.9 * value(autolip(problem, {}))


def test_other_norms_and_networks_without_pairs_are_skipped_with_the_reason() -> None:
    matrices = weights(4, 5, 3)
    with pytest.raises(MethodSkipped, match="2-norm"):
        seqlip(problem_of(chain(matrices), (1, 4), norm="inf"), OPTIONS)
    with pytest.raises(MethodSkipped, match="no two affine layers"):
        greedy_seqlip(problem_of(lambda x: torch.relu(F.linear(x, matrices[0])), (1, 4)), GREEDY)


def test_the_request_answers_with_plain_numbers() -> None:
    model = mlp([matrix.numpy() for matrix in weights(4, 9, 8, 3)])
    result = analyze(model, {"methods": ["autolip", "seqlip", "greedy_seqlip", "gradient"]})["result"]
    autolip_, seqlip_, greedy_, _ = result["estimates"]
    assert json.loads(json.dumps(result)) == result
    assert (seqlip_["guarantee"], greedy_["guarantee"]) == ("certified", "estimate")
    assert greedy_["value"] <= seqlip_["value"] * (1 + 1e-9) <= autolip_["value"] * (1 + 1e-9)
    assert result["upper"]["method"] == "seqlip"
    assert result["lower"]["value"] <= result["upper"]["value"]
    assert [row["layers"] for row in seqlip_["layers"]] == [["fc0", "fc1"], ["fc1", "fc2"]]


def test_a_published_network() -> None:
    matrices, biases = published("lipsdp_random")
    result = analyze(mlp(matrices, biases), {"methods": ["seqlip"], "options": {"seqlip": {"seconds": 5}}})["result"]
    assert 36.4822 <= result["upper"]["value"] <= 43.3056


@examples(30)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 1000), st.booleans())
def test_factors_multiply_back_to_the_matrix(m: int, n: int, seed: int, deficient: bool) -> None:
    matrix = weights(n, m, seed=seed)[0]
    if deficient:
        matrix = matrix[:, :1] @ matrix[:1]
    for split in (first_factors, middle_factors, last_factors):
        factors = split(matrix, 0.0)
        off = float(torch.linalg.matrix_norm(matrix - factors.left @ factors.right, 2))
        assert off <= factors.error <= 1e-12 * float(torch.linalg.matrix_norm(matrix))
        assert min(factors.left.shape) <= min(m, n)
    isometries = (first_factors(matrix, 0.0), last_factors(matrix, 0.0))
    norms = [float(torch.linalg.matrix_norm(end, 2)) for end in (isometries[0].right, isometries[1].left)]
    for length, factors in zip(norms, isometries, strict=True):
        assert length * (1 - 1e-15) <= factors.isometry <= 1 + 1e-12


def test_layers_that_are_too_large_have_no_matrix() -> None:
    problem = problem_of(nn.Conv2d(3, 64, 3, padding=1), (1, 3, 64, 64))
    assert explicit(problem.network.nodes[-1].terms[0].operator, 1e9) is None
