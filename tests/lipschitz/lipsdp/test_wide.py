"""Wide chains by descent: elimination against dense matrices, enclosure of the optimum, proof, deadline."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from app.lipschitz.lipsdp.deep.chain_proof import is_proved_chain, proved_chain
from app.lipschitz.lipsdp.deep.deep import minimise_deep
from app.lipschitz.lipsdp.deep.elimination import Reduction, eliminated
from app.lipschitz.lipsdp.deep.plain_chain import Layer, PlainChain
from app.lipschitz.lipsdp.dense.interior import minimise
from app.lipschitz.lipsdp.found import Found, Progress, Watch
from app.lipschitz.lipsdp.proof import is_proved
from app.lipschitz.lipsdp.start import ROOM, closed_form
from app.lipschitz.lipsdp.system import System
from app.lipschitz.lipsdp.wide.wide import minimise_wide
from app.lipschitz.lipsdp.wide.wide_start import wide_start
from tests.effort import examples, sampled
from tests.lipschitz.lipsdp.systems import chain, random_weights

SIZES = [[10, 60, 5], [50, 30, 80, 4], [70, 100, 6, 60, 5], [20, 60, 50, 1]]
SLOPES = [(0.0, 1.0), (0.1, 1.0), (-0.129, 1.129), (-1.0, 1.0)]


def plain(system: System, layers: list[slice]) -> PlainChain:
    found = PlainChain.of(system, layers)
    assert found is not None
    return found


def solved(chain: PlainChain, gap: float, groups: Tensor | None = None, watch: Watch = lambda _: False) -> Found:
    start = wide_start(chain)
    assert start is not None
    return minimise_wide(chain, *start, gap=gap, groups=groups, watch=watch)


def point(found: Found) -> tuple[Tensor, Tensor]:
    return torch.tensor([found.rho], dtype=torch.float64), found.t[None]


@pytest.mark.parametrize(("sizes", "slope"), sampled(SIZES, SLOPES, every=3))
def test_encloses_the_optimum(sizes: list[int], slope: tuple[float, float]) -> None:
    system, layers = chain(random_weights(sizes, 1), slope)
    whole = minimise(system, *closed_form(system, layers), gap=1e-8)
    found = solved(plain(system, layers), 1e-6)
    tolerance = 0.1 if slope[0] == -1.0 else 0.02
    assert float(whole.optimum) * (1 - 1e-9) < found.rho < (1 + tolerance) * float(whole.rho)
    assert 0.75 * float(whole.rho) < found.optimum < float(whole.rho) * (1 + 1e-9)
    assert bool(is_proved(system, *point(found)))
    assert float(found.energy[: system.inputs].sum()) == pytest.approx(1.0)


@pytest.mark.parametrize("slope", SLOPES)
def test_the_start_is_feasible(slope: tuple[float, float]) -> None:
    system, layers = chain(random_weights([70, 100, 6, 80, 5], 2), slope)
    start = wide_start(plain(system, layers))
    assert start is not None
    slack = system.slack(torch.tensor([start[0]], dtype=torch.float64), start[1][None])
    assert float(torch.linalg.eigvalsh(slack).min()) > 0.0


def test_one_multiplier_a_layer() -> None:
    weights = random_weights([20, 60, 50, 5], 3)
    system, layers = chain(weights, by_layer=True)
    found = solved(plain(system, layers), 1e-6, system.groups)
    assert all(float(found.t[layer].min()) == float(found.t[layer].max()) for layer in layers)
    whole = minimise(system, *closed_form(system, layers), gap=1e-8)
    assert float(whole.optimum) * (1 - 1e-9) < found.rho < 1.01 * float(whole.rho)
    assert found.rho > 1.001 * solved(plain(*chain(weights)), 1e-6).rho


@pytest.mark.parametrize("patience", [0, 1, 30])
def test_stops_when_told_and_keeps_the_best(patience: int) -> None:
    system, layers = chain(random_weights([30, 90, 5], 1))
    seen: list[float] = []

    def watch(now: Progress) -> bool:
        seen.append(float(now.rho))
        return len(seen) > patience

    known = plain(system, layers)
    start = wide_start(known)
    assert start is not None
    found = minimise_wide(known, start[0] / ROOM, start[1] / ROOM, gap=1e-9, watch=watch)
    assert patience < len(seen) <= patience + 14
    assert found.rho <= start[0] / ROOM * (1 + 1e-7)
    assert seen == sorted(seen, reverse=True)
    assert found.rho <= seen[-1] * (1 + 1e-7)
    assert bool(is_proved(system, *point(found)))


@pytest.mark.parametrize(("slope", "sizes"), sampled(SLOPES, SIZES, every=3))
def test_the_proof_is_as_sharp_as_the_dense_one(sizes: list[int], slope: tuple[float, float]) -> None:
    system, layers = chain(random_weights(sizes, 4), slope)
    whole = minimise(system, *closed_form(system, layers), gap=1e-6)
    rho, t = float(whole.rho), whole.t[0]
    best = float(whole.optimum)
    found = proved_chain(plain(system, layers), whole.rho, whole.t, closed_form(system, layers))
    assert best < float(found[0]) < rho * (1 + 1e-6)
    assert not is_proved_chain(plain(system, layers), best * (1 - 1e-6), t * (best / rho) * (1 - 1e-6))
    assert not is_proved_chain(plain(system, layers), rho, -t)


def test_errors_of_the_maps_are_paid_for() -> None:
    """Whatever lies within the errors of the stored maps is feasible where the proof holds."""
    system, layers = chain(random_weights([8, 20, 12, 4], 5), (-0.129, 1.129))
    exact = plain(system, layers)
    rough = PlainChain(
        tuple(Layer(layer.weight, layer.lower, layer.upper, 1e-3) for layer in exact.layers), exact.output, 1e-3
    )
    start = closed_form(system, layers)
    best = minimise(system, *start, gap=1e-6)
    rho, t = proved_chain(rough, best.rho, best.t, start)
    assert 1.0005 < float(rho) / float(best.rho) < 10.0
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        moved = []
        for weight in [*(layer.weight for layer in exact.layers), exact.output]:
            change = torch.randn(weight.shape, dtype=torch.float64, generator=generator)
            moved.append(weight + 1e-3 * change / torch.linalg.matrix_norm(change, 2))
        near, _ = chain(moved, (-0.129, 1.129))
        assert float(torch.linalg.eigvalsh(near.slack(rho, t)).min()) >= 0.0


def test_the_most_variables_go_first() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        widths = torch.randint(1, 9, (7,), generator=generator).tolist()
        may = (torch.rand(7, generator=generator) < 0.7).tolist()
        sets = [c for n in range(5) for c in combinations([k for k in range(7) if may[k]], n)]
        apart = [c for c in sets if all(b - a > 1 for a, b in pairwise(c))]
        best = max(sum(widths[k] for k in c) for c in apart)
        found = eliminated(widths, may)
        assert sum(widths[k] for k in found) == best
        assert tuple(sorted(found)) in apart


@pytest.mark.parametrize("slope", [(0.0, 1.0), (0.1, 1.0)])
def test_the_reduction_is_that_of_dense_matrices(slope: tuple[float, float]) -> None:
    system, layers = chain(random_weights([9, 14, 5, 12, 7, 3], 6), slope)
    rho, t = closed_form(system, layers)
    whole, known = system.step(rho, t)[0], plain(system, layers)
    blocks = known.blocks(float(rho), t[0])
    for gone in (frozenset[int](), frozenset({4}), frozenset({0, 2, 4}), frozenset({1, 3})):
        if any(blocks.dense[k] is not None for k in gone):
            continue
        found = Reduction.of(blocks, gone)
        assert found is not None
        assert found.logdet() == pytest.approx(float(torch.linalg.slogdet(whole)[1]))
        right = torch.randn(7, 2, dtype=torch.float64)
        padded = torch.cat([torch.zeros(system.size - 7, 2, dtype=torch.float64), right])
        torch.testing.assert_close(torch.cat(found.solve_last(right)), torch.linalg.solve(whole, padded))
        root = torch.cat(found.samples(torch.eye(system.size, dtype=torch.float64)))
        torch.testing.assert_close(root @ root.T, torch.linalg.inv(whole))
        inputs, each = known.against_constraints(found.inverse())
        expected = system.against_constraints(torch.linalg.inv(whole)[None])
        assert inputs == pytest.approx(float(expected[0]))
        torch.testing.assert_close(each, expected[1][0])


@examples(25)
@given(
    sizes=st.lists(st.integers(1, 24), min_size=3, max_size=6),
    seed=st.integers(0, 99),
    slope=st.sampled_from(SLOPES),
)
def test_never_above_the_closed_form_nor_below_the_optimum(
    sizes: list[int], seed: int, slope: tuple[float, float]
) -> None:
    system, layers = chain(random_weights(sizes, seed), slope)
    known = plain(system, layers)
    start = wide_start(known)
    assert start is not None
    found = minimise_wide(known, start[0] / ROOM, start[1] / ROOM, gap=1e-2)
    inner = torch.tensor([start[0]], dtype=torch.float64), start[1][None]
    rho = float(proved_chain(known, *point(found), inner)[0])
    whole = minimise(system, *closed_form(system, layers), gap=1e-8)
    assert float(whole.optimum) * (1 - 1e-9) <= rho <= start[0] / ROOM * (1 + 1e-6)
    assert found.optimum <= float(whole.rho) * (1 + 1e-9)


@examples(15)
@given(
    widths=st.lists(st.integers(1, 9), min_size=4, max_size=16),
    seed=st.integers(0, 99),
    slope=st.sampled_from(SLOPES),
)
def test_deep_chains_of_any_widths_enclose_the_optimum(
    widths: list[int], seed: int, slope: tuple[float, float]
) -> None:
    system, layers = chain(random_weights(widths, seed), slope)
    known, (rho, t) = plain(system, layers), closed_form(system, layers)
    found = minimise_deep(known, float(rho), t[0], gap=1e-4)
    proof = float(proved_chain(known, *point(found), (rho, t))[0])
    whole = minimise(system, rho, t, gap=1e-8)
    assert float(whole.optimum) * (1 - 1e-9) <= proof <= float(rho) / ROOM * (1 + 2e-4)
    assert found.optimum <= float(whole.rho) * (1 + 1e-6)
