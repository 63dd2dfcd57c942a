"""Deep chains by sweeps over pieces: against the whole solved at once, feasible, in time."""

from __future__ import annotations

import math

import pytest
import torch

from app.lipschitz.sdp import deep
from app.lipschitz.sdp.deep import deep_chain, minimise_deep
from app.lipschitz.sdp.deep_chain import DeepChain
from app.lipschitz.sdp.interior import Iterate, minimise
from app.lipschitz.sdp.proof import proved
from app.lipschitz.sdp.start import closed_form
from app.lipschitz.sdp.system import System
from tests.lipschitz.sdp.systems import chain, random_weights

SLOPES = [(0.0, 1.0), (0.1, 1.0), (-0.129, 1.129), (-1.0, 1.0)]
UNEVEN = [5, 7, 6, 8, 5, 5, 9, 6, 6, 7, 5, 8, 6, 7, 3]


def cut(system: System, layers: list[slice]) -> DeepChain:
    found = DeepChain.of(system, layers)
    assert found is not None
    return found


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("sizes", [[6] * 20, UNEVEN], ids=["even", "uneven"])
def test_agrees_with_the_whole(slope: tuple[float, float], sizes: list[int]) -> None:
    system, layers = chain(random_weights(sizes, 1), slope)
    start = closed_form(system, layers)
    found = minimise_deep(system, cut(system, layers), *start, gap=1e-3)
    whole = minimise(system, *start, gap=1e-8)
    assert float(whole.optimum) < float(found.rho) < 1.002 * float(whole.rho)
    assert float(torch.linalg.eigvalsh(system.slack(found.rho, found.t)).min()) > 0.0
    assert float(proved(system, found.rho, found.t, start)[0]) < 1.001 * float(found.rho)


def test_any_scale_of_the_bound() -> None:
    weights = [1e-2 * weight for weight in random_weights([6] * 20, 1)]
    system, layers = chain(weights)
    large, places = chain(random_weights([6] * 20, 1))
    small = float(minimise_deep(system, cut(system, layers), *closed_form(system, layers), gap=1e-3).rho)
    usual = float(minimise_deep(large, cut(large, places), *closed_form(large, places), gap=1e-3).rho)
    assert small == pytest.approx(usual * 1e-4 ** len(weights), rel=0.02)


@pytest.mark.parametrize("patience", [0, 1, 12])
def test_stops_when_told_and_keeps_the_best(patience: int) -> None:
    system, layers = chain(random_weights([6] * 20, 1))
    rho, t = closed_form(system, layers)
    seen: list[Iterate] = []

    def watch(now: Iterate) -> bool:
        seen.append(now)
        return len(seen) > patience

    found = minimise_deep(system, cut(system, layers), rho, t, gap=1e-3, watch=watch)
    values = [float(now.rho) for now in seen]
    assert values == sorted(values, reverse=True)
    assert len(seen) <= patience + 8
    assert float(found.rho) <= float(rho)
    assert float(torch.linalg.eigvalsh(system.slack(found.rho, found.t)).min()) > 0.0


def test_energy_is_that_of_a_unit_input() -> None:
    system, layers = chain(random_weights([6] * 20, 1))
    found = minimise_deep(system, cut(system, layers), *closed_form(system, layers), gap=1e-3)
    z = found.z[0].diagonal()
    assert float(z[: system.inputs].sum()) == pytest.approx(1.0)
    assert float(found.optimum) == 0.0
    assert math.isfinite(float(found.s.sum()))


def test_only_deep_plain_chains_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deep, "LEAST_SIDE", 50)
    weights = random_weights([6] * 20, 1)
    assert deep_chain(*chain(weights)) is not None
    assert deep_chain(*chain(weights[:8])) is None
    assert deep_chain(*chain(weights, skips=0.5)) is None
    assert deep_chain(*chain(weights, by_layer=True)) is None
