"""AutoLip on chains equals the product of norms; on graphs it is the sum over paths; factors multiply to the bound."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from app.lipschitz.operators.norm import norm
from app.lipschitz.walk.shares import log_factors
from app.lipschitz.walk.walk import walk
from tests.lipschitz.helpers import ORDER, autolip_of, jacobian_norms, network_of


def weights(*widths: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(o, i, dtype=torch.float64, generator=generator) for i, o in pairwise(widths)]


def chain(matrices: list[Tensor]):
    def function(x: Tensor) -> Tensor:
        for matrix in matrices[:-1]:
            x = torch.relu(F.linear(x, matrix))
        return F.linear(x, matrices[-1])

    return function


@pytest.mark.parametrize("p", ["1", "2", "inf"])
def test_a_chain_gives_the_product_of_norms(p: str) -> None:
    matrices = weights(5, 9, 7, 3)
    want = math.prod(float(np.linalg.norm(matrix.numpy(), ORDER[p])) for matrix in matrices)
    bound = autolip_of(network_of(chain(matrices), (1, 5)), p)
    assert want * (1 - 1e-13) <= bound <= want * (1 + 1e-9)


def test_nonnegative_weights_reach_the_norm_of_the_product() -> None:
    matrices = [matrix.abs() for matrix in weights(2, 10, 30, 20, 2)]
    network = network_of(chain(matrices), (1, 2))
    truth = float(torch.linalg.matrix_norm(matrices[3] @ matrices[2] @ matrices[1] @ matrices[0], 2))
    attained = float(jacobian_norms(network, "2", torch.ones(1, 2, dtype=torch.float64)))
    assert attained == pytest.approx(truth)
    assert truth <= autolip_of(network, "2")


def test_affine_layers_in_a_row_are_fused() -> None:
    first, second = weights(5, 8, 4)
    network = network_of(lambda x: F.linear(2 * F.linear(x, first), second), (1, 5))
    assert autolip_of(network, "2") == pytest.approx(2 * float(torch.linalg.matrix_norm(second @ first, 2)), rel=1e-10)


def test_a_linear_skip_joins_the_same_block() -> None:
    (square,) = weights(6, 6)
    network = network_of(lambda x: x - F.linear(x, square), (1, 6))
    want = float(torch.linalg.matrix_norm(torch.eye(6, dtype=torch.float64) - square, 2))
    assert autolip_of(network, "2") == pytest.approx(want, rel=1e-10)


def test_a_residual_adds_its_branches() -> None:
    first, second = weights(6, 8, 6)
    network = network_of(lambda x: x + F.linear(torch.relu(F.linear(x, first)), second), (1, 6))
    want = 1 + float(torch.linalg.matrix_norm(second, 2) * torch.linalg.matrix_norm(first, 2))
    assert autolip_of(network, "2") == pytest.approx(want, rel=1e-10)


@pytest.mark.parametrize(("p", "combine"), [("1", sum), ("2", lambda x: math.hypot(*x)), ("inf", max)])
def test_concatenation_takes_the_norm_of_its_blocks(p: str, combine) -> None:
    first, second = weights(6, 8, seed=1)[0], weights(6, 5, seed=2)[0]
    network = network_of(
        lambda x: torch.cat([torch.relu(F.linear(x, first)), torch.tanh(F.linear(x, second))], 1), (1, 6)
    )
    want = combine([float(torch.linalg.matrix_norm(matrix, ORDER[p])) for matrix in (first, second)])
    assert autolip_of(network, p) == pytest.approx(want, rel=1e-10)


def test_two_inputs_are_one_vector() -> None:
    left, right = weights(4, 6, seed=1)[0], weights(3, 6, seed=2)[0]
    network = network_of(lambda x, y: F.linear(x, left) + F.linear(y, right), (1, 4), (1, 3))
    want = float(torch.linalg.matrix_norm(torch.cat([left, right], 1), 2))
    assert autolip_of(network, "2") == pytest.approx(want, rel=1e-10)


@pytest.mark.parametrize("p", ["1", "2", "inf"])
def test_factors_multiply_to_the_bound(p: str) -> None:
    torch.manual_seed(3)
    block = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 3, 3, padding=1))
    head = nn.Linear(3 * 16, 4)
    module = nn.ModuleList([block, head])
    module.eval().double()
    network = network_of(lambda x: head((F.relu(block(x) + x)).flatten(1)), (1, 3, 4, 4))
    steps = walk(network, p, lambda operator: norm(operator, p).upper)
    logs = log_factors(steps, p)
    assert logs is not None
    assert sum(logs) == pytest.approx(math.log(steps[-1].cumulative))


def test_shares_on_a_chain_are_the_logarithms() -> None:
    matrices = weights(5, 9, 3)
    steps = walk(network_of(chain(matrices), (1, 5)), "2", lambda operator: norm(operator, "2").upper)
    logs = [math.log(float(torch.linalg.matrix_norm(matrix, 2))) for matrix in matrices]
    assert log_factors(steps, "2") == pytest.approx([0.0, logs[0], 0.0, logs[1]])
