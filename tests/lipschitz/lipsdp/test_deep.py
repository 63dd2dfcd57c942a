"""Deep chains in block tridiagonal algebra: against the whole solved with dense matrices, feasible, in time."""

from __future__ import annotations

import pytest
import torch

from app.lipschitz.lipsdp.deep import deep
from app.lipschitz.lipsdp.deep.deep import deep_chain, minimise_deep
from app.lipschitz.lipsdp.deep.plain_chain import PlainChain
from app.lipschitz.lipsdp.dense.interior import minimise
from app.lipschitz.lipsdp.found import Found, Progress, Watch
from app.lipschitz.lipsdp.start import closed_form
from app.lipschitz.lipsdp.system import System
from tests.effort import sampled
from tests.lipschitz.lipsdp.systems import chain, random_weights

SLOPES = [(0.0, 1.0), (0.1, 1.0), (-0.129, 1.129), (-1.0, 1.0)]
UNEVEN = [5, 7, 6, 8, 5, 5, 9, 6, 6, 7, 5, 8, 6, 7, 3]


def solved(system: System, layers: list[slice], gap: float, watch: Watch = lambda _: False) -> Found:
    chain = PlainChain.of(system, layers)
    assert chain is not None
    rho, t = closed_form(system, layers)
    return minimise_deep(chain, float(rho), t[0], gap=gap, watch=watch)


def least_eigenvalue(system: System, found: Found) -> float:
    rho = torch.tensor([found.rho], dtype=torch.float64)
    return float(torch.linalg.eigvalsh(system.slack(rho, found.t[None])).min())


@pytest.mark.parametrize(("slope", "sizes"), sampled(SLOPES, [[6] * 20, UNEVEN], every=2))
def test_encloses_the_optimum_of_the_whole(slope: tuple[float, float], sizes: list[int]) -> None:
    system, layers = chain(random_weights(sizes, 1), slope)
    found = solved(system, layers, 1e-3)
    whole = minimise(system, *closed_form(system, layers), gap=1e-8)
    assert found.gap < 1e-3
    assert float(whole.optimum) * (1 - 1e-9) < found.rho
    assert found.optimum < float(whole.rho) * (1 + 1e-9)
    assert least_eigenvalue(system, found) > 0.0


def test_any_scale_of_the_bound() -> None:
    weights = [1e-2 * weight for weight in random_weights([6] * 20, 1)]
    small = solved(*chain(weights), 1e-3)
    usual = solved(*chain(random_weights([6] * 20, 1)), 1e-3)
    assert small.rho == pytest.approx(usual.rho * 1e-4 ** len(weights), rel=0.002)


@pytest.mark.parametrize("patience", [0, 1, 12, 40])
def test_stops_when_told_and_keeps_the_best(patience: int) -> None:
    system, layers = chain(random_weights([6] * 20, 1))
    seen: list[float] = []

    def watch(now: Progress) -> bool:
        seen.append(float(now.rho))
        return len(seen) > patience

    found = solved(system, layers, 1e-9, watch)
    assert seen == sorted(seen, reverse=True)
    assert len(seen) <= patience + 12
    assert found.rho <= seen[-1]
    assert least_eigenvalue(system, found) > 0.0


def test_energy_is_that_of_a_unit_input() -> None:
    system, layers = chain(random_weights([6] * 20, 1))
    found = solved(system, layers, 1e-3)
    assert float(found.energy[: system.inputs].sum()) == pytest.approx(1.0)
    assert len(found.energy) == system.size
    assert found.optimum == pytest.approx(found.rho, rel=2e-3)


def test_only_deep_plain_chains_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deep, "LEAST_SIDE", 50)
    weights = random_weights([6] * 20, 1)
    assert deep_chain(*chain(weights)) is not None
    assert deep_chain(*chain(weights[:8])) is None
    assert deep_chain(*chain(weights, skips=0.5)) is None
    assert deep_chain(*chain(weights, by_layer=True)) is None
