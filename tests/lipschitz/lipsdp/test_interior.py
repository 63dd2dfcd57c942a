"""The interior-point method against a general conic solver, and its own primal bound."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from app.lipschitz.lipsdp.dense.interior import Iterate, minimise
from app.lipschitz.lipsdp.proof import proved
from app.lipschitz.lipsdp.start import ROOM, closed_form
from app.lipschitz.lipsdp.system import Block, System
from benchmarks.conic import least_rho
from tests.effort import sampled
from tests.lipschitz.lipsdp.systems import chain, random_weights

SLOPES = [(0.0, 1.0), (0.1, 1.0), (-0.129, 1.129), (-1.0, 1.0)]


def solved(system: System, layers: list[slice], gap: float = 1e-9) -> Iterate:
    return minimise(system, *closed_form(system, layers), gap=gap)


@pytest.mark.parametrize("slope", sampled(SLOPES, every=2))
@pytest.mark.parametrize(("depth", "skips"), [(5, 0.0), pytest.param(10, 0.0, marks=pytest.mark.slow), (5, 0.7)])
def test_agrees_with_a_general_conic_solver(slope: tuple[float, float], depth: int, skips: float) -> None:
    pytest.importorskip("cvxpy")
    system, layers = chain(
        random_weights([3, *[5] * depth, 2] if not skips else [4] * (depth + 2), depth), slope, skips=skips
    )
    found = solved(system, layers)
    assert float(found.rho) == pytest.approx(least_rho(system), rel=1e-6)


def test_agrees_by_layer() -> None:
    pytest.importorskip("cvxpy")
    system, layers = chain(random_weights([4, 8, 6, 3], 3), by_layer=True)
    assert float(solved(system, layers).rho) == pytest.approx(least_rho(system), rel=1e-6)


@pytest.mark.parametrize("slope", SLOPES)
def test_start_is_strictly_feasible(slope: tuple[float, float]) -> None:
    system, layers = chain(random_weights([6, 9, 7, 8, 3], 1), slope)
    rho, t = closed_form(system, layers)
    assert float(torch.linalg.eigvalsh(system.slack(rho, t)).min()) > 0.0
    assert bool((t > 0).all())


def test_primal_objective_bounds_the_optimum_from_below() -> None:
    system, layers = chain(random_weights([5, 12, 12, 4], 2))
    history: list[Iterate] = []
    final = minimise(system, *closed_form(system, layers), gap=1e-10, watch=lambda now: bool(history.append(now)))
    assert all(float(now.optimum) <= float(final.rho) * (1 + 1e-9) for now in history)
    assert all(float(now.rho) >= float(final.optimum) * (1 - 1e-9) for now in history)
    assert float(final.gap) <= 1e-10


def test_every_iterate_is_feasible_and_the_watch_stops() -> None:
    system, layers = chain(random_weights([5, 12, 12, 4], 2))
    stopped = minimise(system, *closed_form(system, layers), gap=1e-10, watch=lambda now: now.iterations == 3)
    assert stopped.iterations == 3
    assert float(torch.linalg.eigvalsh(system.slack(stopped.rho, stopped.t)).min()) > 0.0


def test_a_batch_solves_each_of_its_problems() -> None:
    weights = [random_weights([4, 6, 5, 2], seed) for seed in range(5)]
    alone = [float(solved(*chain(one)).rho) for one in weights]
    single, layers = chain(weights[0])
    blocks = tuple(
        Block(block.row, block.column, torch.stack([one[k] for one in weights]))
        for k, block in enumerate(single.blocks)
    )
    output = torch.stack([chain(one)[0].output for one in weights])
    together = System(4, blocks, output, single.lower.expand(5, -1), single.upper.expand(5, -1))
    assert solved(together, layers).rho.tolist() == pytest.approx(alone, rel=1e-7)


def test_coupled_blocks_are_one_block_diagonal_problem() -> None:
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(4, 6, 3, dtype=torch.float64, generator=generator)
    c = torch.randn(4, 2, 6, dtype=torch.float64, generator=generator)
    ends = torch.zeros(1, 6, dtype=torch.float64), torch.ones(1, 6, dtype=torch.float64)
    coupled = System(3, (Block(0, 0, v),), torch.cat([c.new_zeros(4, 2, 3), c], 2), *ends, coupled=True)
    output = torch.cat([c.new_zeros(8, 12), torch.block_diag(*c)], 1)
    whole = System(
        12, (Block(0, 0, torch.block_diag(*v)),), output, *(end.repeat(1, 4) for end in ends), torch.arange(6).repeat(4)
    )
    one, two = solved(coupled, [slice(0, 6)]), solved(whole, [slice(0, 24)])
    assert float(one.rho) == pytest.approx(float(two.rho), rel=1e-7)
    assert one.t[0].tolist() == pytest.approx(two.t[0].tolist(), rel=1e-4)


@given(st.integers(0, 10**6), st.lists(st.integers(1, 7), min_size=3, max_size=6))
def test_never_above_the_closed_form_or_the_product(seed: int, sizes: list[int]) -> None:
    """The closed form is that of ECLipsE-Fast, Xu & Sivaranjani, NeurIPS 2024."""
    weights = random_weights(sizes, seed)
    system, layers = chain(weights)
    start = closed_form(system, layers)
    found = minimise(system, *start, gap=1e-6)
    bound = float(proved(system, found.rho, found.t, start)[0]) ** 0.5
    product = math.prod(float(torch.linalg.matrix_norm(weight, 2)) for weight in weights)
    signs = torch.randint(0, 2, (200, system.neurons), generator=torch.Generator().manual_seed(seed)).double()
    assert bound <= min(product, float(start[0] / ROOM) ** 0.5) * (1 + 1e-6)
    assert bound >= max(_jacobian_norm(weights, s, layers) for s in signs) * (1 - 1e-12)


def _jacobian_norm(weights: list[Tensor], slopes: Tensor, layers: list[slice]) -> float:
    product = weights[0]
    for weight, layer in zip(weights[1:], layers, strict=True):
        product = weight @ (slopes[layer, None] * product)
    return float(torch.linalg.matrix_norm(product, 2))
