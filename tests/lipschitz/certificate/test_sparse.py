"""Sparse maps, systems and eliminations against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from app.lipschitz.certificate.dissection import cells_of, dissected
from app.lipschitz.certificate.elimination import Blocks, Plan
from app.lipschitz.certificate.forms import Slopes
from app.lipschitz.certificate.semidefinite import system
from app.lipschitz.certificate.sparse import Inequality, pattern_of, planned
from app.lipschitz.certificate.sparse_maps import map_of
from app.lipschitz.certificate.sparse_system import sparse_system
from app.lipschitz.network.nodes import Activation
from app.lipschitz.operators import algebra
from app.lipschitz.operators.base import LinearOperator
from app.lipschitz.operators.composite import Adjoint, Stack
from app.lipschitz.operators.convolution import Convolution
from app.lipschitz.operators.dense import Dense
from app.lipschitz.operators.diagonal import Diagonal
from app.lipschitz.operators.gather import Gather
from tests.lipschitz.helpers import network_of
from tests.lipschitz.lipsdp.test_primal import Residual, linear


def convolution(groups: int = 1, images: int = 1) -> Convolution:
    kernel = torch.randn(4, 2 // groups, 3, 2, dtype=torch.float64)
    return Convolution((images, 2, 7, 6), (images, 4, 4, 6), kernel, (2, 1), ((1, 1), (0, 2)), (1, 2), groups)


def operators() -> list[LinearOperator]:
    torch.manual_seed(0)
    one, dense = convolution(), Dense((96,), (5,), torch.randn(5, 96, dtype=torch.float64))
    picked = Gather((5,), (7,), torch.tensor([0, -1, 3, 3, 2, 4, 1]))
    scaled = Diagonal((4, 24), (4, 24), torch.randn(4, 1, dtype=torch.float64))
    return [
        one,
        convolution(groups=2),
        convolution(images=3),
        Adjoint(convolution(groups=2)),
        picked,
        algebra.compose(dense, one),
        algebra.compose(picked, algebra.compose(dense, algebra.compose(scaled, one))),
        algebra.add(one, convolution(groups=2)),
        Stack((one, algebra.compose(dense, one))),
    ]


@pytest.mark.parametrize("operator", operators(), ids=lambda one: type(one).__name__)
def test_a_sparse_map_is_the_operator(operator: LinearOperator) -> None:
    found, exact = map_of(operator), operator.as_matrix().numpy()
    assert found.matrix.shape == exact.shape
    np.testing.assert_allclose(found.matrix.toarray(), exact, rtol=1e-13, atol=1e-13)
    assert found.norm >= np.linalg.norm(exact, 2)
    assert np.linalg.norm(found.matrix.toarray() - exact, 2) <= found.error + 1e-13
    assert found.error <= 1e-11


def slopes_of(network: object, fixed: int = 0) -> dict[Activation, Slopes]:
    found = {}
    for node in network.nodes:  # type: ignore[attr-defined]
        if isinstance(node, Activation):
            lower, upper = np.full(node.size, -0.2), np.full(node.size, 1.0)
            upper[:fixed] = lower[:fixed] + 1e-9
            found[node] = Slopes(lower, upper, np.arange(fixed, node.size))
    return found


@pytest.mark.parametrize("fixed", [0, 3])
def test_the_sparse_system_is_the_dense_one(fixed: int) -> None:
    torch.manual_seed(1)
    network = network_of(Residual(torch.nn.ReLU()), (1, 2, 5, 5))
    slopes = slopes_of(network, fixed)
    dense = system(network.input, network.output, slopes)
    sparse = sparse_system(network.input, network.output, slopes)
    whole = np.concatenate([dense.pre.middle, dense.output.middle])
    assert sparse.inputs == dense.inputs
    np.testing.assert_allclose(sparse.matrix.toarray(), whole, atol=1e-12)
    assert (max(one.error for one in sparse.off) > 1e-10) == (fixed > 0)


def test_twice_transposed_is_the_system() -> None:
    network = network_of(Residual(torch.nn.ReLU()), (1, 2, 5, 5))
    found = sparse_system(network.input, network.output, slopes_of(network, 3))
    turned = found.transposed
    n, m, p = found.inputs, found.neurons, found.outputs
    whole, back = found.matrix.toarray(), turned.matrix.toarray()
    np.testing.assert_array_equal(back[:m, :p], whole[m:, n:].T)
    np.testing.assert_array_equal(back[:m, p:], whole[:m, n:].T)
    np.testing.assert_array_equal(back[m:, :p], whole[m:, :n].T)
    np.testing.assert_array_equal(back[m:, p:], whole[:m, :n].T)
    twice = turned.transposed
    np.testing.assert_array_equal(twice.matrix.toarray(), whole)
    assert twice.off == found.off


@pytest.mark.parametrize("seed", range(6))
def test_elimination_in_any_parts(seed: int) -> None:
    """C K^-1 C^T, and None once K minus the shift is no longer positive."""
    generator = np.random.default_rng(seed)
    n, p = 40, 3
    half = sp.random_array((n, n), density=0.05, rng=generator) * 0.5
    matrix = (half @ half.T + sp.diags_array(generator.uniform(0.5, 2.0, n))).tocsr()
    border = sp.random_array((p, n), density=0.3, rng=generator).tocsr()
    parts = np.split(generator.permutation(n), sorted(generator.choice(n, 1 + 3 * seed, replace=False)))
    ordered = seed % 3
    blocks = Blocks(Plan.of(matrix, parts[:ordered], parts[ordered:], p), matrix, border)
    exact = border.toarray() @ np.linalg.solve(matrix.toarray(), border.toarray().T)
    whole, alone = blocks.complement(0.0, whole=True), blocks.complement(0.0, whole=False)
    assert whole is not None
    assert alone is not None
    np.testing.assert_allclose(whole.numpy(), exact, atol=1e-12)
    np.testing.assert_allclose(alone.numpy(), np.diag(exact), atol=1e-12)
    least = float(np.linalg.eigvalsh(matrix.toarray())[0])
    assert blocks.complement(least * 0.999, whole=True) is not None
    assert blocks.complement(least * 1.001, whole=True) is None


def test_counts_cover_the_factor() -> None:
    network = network_of(Residual(torch.nn.ReLU()), (1, 2, 5, 5))
    found = sparse_system(network.input, network.output, slopes_of(network))
    plan = planned(found)
    n = found.inputs + found.neurons
    order = np.concatenate(plan.parts)
    assert sorted(order) == list(range(n))
    t = np.full(found.neurons, 1e-3)
    matrix = Inequality(found, plan, np.ones(found.inputs), t).matrix.toarray()[np.ix_(order, order)]
    factor = np.linalg.cholesky(matrix + 10 * np.eye(n))
    assert ((np.abs(factor) > 0).sum(1) <= plan.counts[order]).all()


def test_what_is_not_positive_is_not_proved() -> None:
    """At the least rho that is feasible in floating point: a little more is proved, a little less is not."""
    torch.manual_seed(0)
    network = network_of(linear(8, 12, 9, 3), (1, 8))
    slopes = {n: Slopes(np.zeros(n.size), np.ones(n.size), np.arange(n.size)) for n in slopes_of(network)}
    found = sparse_system(network.input, network.output, slopes)
    plan = planned(found)
    t = np.full(found.neurons, 0.2)
    levels = Inequality(found, plan, np.ones(found.inputs), t).levels(whole=True)
    assert levels is not None
    rho = float(np.linalg.eigvalsh(levels)[-1])

    def is_proved(rho: float) -> bool:
        return bool(Inequality(found, plan, np.full(found.inputs, rho), t * rho).is_proved(whole=True)[0])

    assert is_proved(rho * (1 + 1e-9))
    assert not is_proved(rho * (1 - 1e-12))
    assert not is_proved(rho * 0.9)
    alone = Inequality(found, plan, np.full(found.inputs, rho * 0.9), t * rho * 0.9).is_proved(whole=False)
    exact = np.diag(levels) < rho * 0.9
    np.testing.assert_array_equal(alone, exact)


@pytest.mark.parametrize("sides", [(90,), (16, 13), (6, 6, 8)])
def test_dissection_separates(sides: tuple[int, ...]) -> None:
    """Every variable on an image is in one part, and what is left to eliminate is never far from the whole."""
    torch.manual_seed(0)
    kind = [torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d][len(sides) - 1]
    layers = [kind(2, 3, 3, padding=1), torch.nn.ReLU(), kind(3, 4, 3, stride=2), torch.nn.ReLU(), torch.nn.Flatten()]
    body = torch.nn.Sequential(*layers)
    width = body(torch.zeros(1, 2, *sides)).shape[1]
    network = network_of(torch.nn.Sequential(*layers, torch.nn.Linear(width, 2)).double(), (1, 2, *sides))
    found = sparse_system(network.input, network.output, slopes_of(network))
    pattern = pattern_of(found)
    cells = cells_of(found.places[:-1], pattern)
    assert cells is not None
    parts = dissected(cells, pattern)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.flatnonzero(cells.own >= 0))
    size = pattern.shape[0]
    plan, shuffled = planned(found), [np.random.default_rng(0).permutation(size)]
    assert plan.work < Plan.of(pattern, np.array_split(shuffled[0], len(parts)), [], found.outputs).work
