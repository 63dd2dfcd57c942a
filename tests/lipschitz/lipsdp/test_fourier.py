"""The Fourier bound against cyclic matrices written out, the dense per-neuron bound, and products of norms."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from app.lipschitz.lipsdp.dense.interior import minimise
from app.lipschitz.lipsdp.proof import proved
from app.lipschitz.lipsdp.region import Region, region_of
from app.lipschitz.lipsdp.start import closed_form
from app.lipschitz.lipsdp.torus.bound import _of_errors
from app.lipschitz.lipsdp.torus.chain import Layer, coarse_sides, half_frequencies, periods
from app.lipschitz.lipsdp.torus.fourier import Chain, steepest
from app.lipschitz.lipsdp.torus.search import least_rho
from app.lipschitz.lipsdp.torus.symbols import symbol_error, symbols
from app.lipschitz.operators.norm import norm
from tests.effort import examples
from tests.lipschitz.lipsdp.fourier_chains import Drawn, chain, chains, cyclic, layers
from tests.lipschitz.operators.convolutions import convolution

DIMENSIONS = st.sampled_from([1, 2])


def fourier(drawn: Drawn, *, by_layer: bool = False, gap: float = 1e-6) -> float:
    """The certified constant."""
    norms = [norm(c, "2").upper for c in drawn.convolutions]
    built = Chain.of(layers(drawn), drawn.slopes, norms, by_layer=by_layer)
    found = least_rho(built, gap, lambda _: False)
    assert math.isfinite(float(found.rho))
    return math.ldexp(math.sqrt(float(found.rho)), built.exponents[-1])


def dense(drawn: Drawn, slopes: dict | None = None) -> float:
    """The certified per-neuron constant."""
    constants = dict.fromkeys(drawn.nodes, 1.0)
    region = region_of(
        drawn.nodes[0], drawn.nodes[-1], drawn.nodes[1:], slopes or drawn.slopes, constants, by_layer=False
    )
    if not isinstance(region, Region):
        return norm(region, "2").upper
    start = closed_form(region.system, region.layers)
    found = minimise(region.system, *start, gap=1e-8)
    rho, _ = proved(region.system, found.rho, found.t, start)
    return math.ldexp(math.sqrt(float(rho)), region.exponent)


def torus_product(drawn: Drawn) -> float:
    """Product of the cyclic convolutions' norms and of the steepest slopes, in floating point."""
    found, sides, everything = 1.0, coarse_sides(layers(drawn)), periods(layers(drawn))
    built = Chain.of(layers(drawn), drawn.slopes, [1.0] * len(drawn.convolutions))
    for c, period in zip(drawn.convolutions, everything[1:], strict=True):
        matrices = symbols(c, half_frequencies(sides), sides, period)
        found *= float(torch.linalg.matrix_norm(matrices, 2).max())
    return found * math.prod(steepest(slopes) for slopes in built.slopes)


def extreme_jacobians(drawn: Drawn, seed: int) -> float:
    """The largest norm of the chain's matrix over random choices of the slopes' ends."""
    generator, largest = torch.Generator().manual_seed(seed), 0.0
    for _ in range(20):
        matrix = drawn.convolutions[0].as_matrix()
        for c, (low, high) in zip(drawn.convolutions[1:], drawn.slopes.values(), strict=True):
            picks = torch.rand(len(low), generator=generator, dtype=torch.float64) < 0.5
            matrix = c.as_matrix() @ (torch.where(picks, low, high)[:, None] * matrix)
        largest = max(largest, float(torch.linalg.matrix_norm(matrix, 2)))
    return largest


@examples(25)
@given(DIMENSIONS.flatmap(chains))
def test_maps_lie_in_one_torus_and_the_cyclic_chain_agrees_with_them(drawn: Drawn) -> None:
    sides = coarse_sides(layers(drawn))
    for c, period in zip(drawn.convolutions, periods(layers(drawn)), strict=False):
        around = tuple(side * p for side, p in zip(sides, period, strict=True))
        inside = [slice(0, n) for n in (*c.out_shape[1:], *c.in_shape[1:])]
        matrix = cyclic(c, around)[tuple(inside)].reshape(c.out_size, c.in_size)
        torch.testing.assert_close(matrix, c.as_matrix(), rtol=0, atol=1e-12)


@examples(25)
@given(DIMENSIONS.flatmap(chains))
def test_symbols_hold_the_cyclic_convolutions_singular_values(drawn: Drawn) -> None:
    sides, everything = coarse_sides(layers(drawn)), periods(layers(drawn))
    frequencies = torch.cartesian_prod(*map(torch.arange, sides)).reshape(-1, len(sides))
    for c, before, after in zip(drawn.convolutions, everything, everything[1:], strict=False):
        whole = cyclic(c, tuple(side * p for side, p in zip(sides, before, strict=True)))
        expected = torch.linalg.svdvals(whole.flatten(len(sides) + 1).flatten(0, len(sides)))
        found = torch.linalg.svdvals(symbols(c, frequencies, sides, after)).flatten().sort(descending=True).values
        torch.testing.assert_close(found[: len(expected)], expected, rtol=0, atol=1e-11)


def test_symbols_lie_within_their_error_of_those_in_extended_precision() -> None:
    c = convolution((7, 5), torch.randn(3, 2, 3, 2, dtype=torch.float64))
    sides, frequencies = (7, 5), half_frequencies((7, 5))
    turn = 2 * np.arccos(np.longdouble(-1))
    exact = np.zeros((len(frequencies), 3, 2), dtype=np.clongdouble)
    for t in np.ndindex(3, 2):
        angle = turn * (frequencies.numpy().astype(np.longdouble) * t / sides).sum(1)
        exact += (np.cos(angle) + 1j * np.sin(angle))[:, None, None] * c.kernel[:, :, t[0], t[1]].numpy()
    distance = abs(symbols(c, frequencies, sides, (1, 1)).numpy() - exact).astype(float)
    assert 0.0 < np.linalg.norm(distance, axis=(1, 2)).max() <= symbol_error(c) < 1e-12


@pytest.mark.parametrize("sides", [(1,), (4,), (5,), (3, 4), (2, 3, 2)])
def test_half_of_the_frequencies_and_their_mirror_images_are_all(sides: tuple[int, ...]) -> None:
    half = {tuple(w) for w in half_frequencies(sides).tolist()}
    mirrored = {tuple(-a % n for a, n in zip(w, sides, strict=True)) for w in half}
    real = math.prod(2 if n % 2 == 0 else 1 for n in sides)
    assert len(half | mirrored) == math.prod(sides)
    assert len(half & mirrored) == real


@examples(12)
@given(DIMENSIONS.flatmap(chains), st.integers(0, 1000))
def test_between_the_dense_bound_and_the_product_on_the_torus(drawn: Drawn, seed: int) -> None:
    found = fourier(drawn)
    wide = {node: (low.clamp(max=0.0), high.clamp(min=0.0)) for node, (low, high) in drawn.slopes.items()}
    assert extreme_jacobians(drawn, seed) <= found * (1 + 1e-9)
    assert dense(drawn, wide) <= found * (1 + 1e-6)
    assert found <= torus_product(drawn) * (1 + 1e-5)


def test_slopes_that_differ_within_a_channel_are_covered() -> None:
    generator = torch.Generator().manual_seed(3)
    kernels = [torch.randn(2, 2, 3, dtype=torch.float64, generator=generator) for _ in range(2)]
    drawn = chain([convolution((6,), kernel, padding=((1, 1),)) for kernel in kernels])
    (node,) = drawn.slopes
    low, high = (torch.rand(12, dtype=torch.float64, generator=generator) for _ in range(2))
    drawn.slopes[node] = torch.minimum(low, high), torch.maximum(low, high)
    found = fourier(drawn)
    assert extreme_jacobians(drawn, 0) <= found
    drawn.slopes[node] = torch.zeros(12, dtype=torch.float64), torch.ones(12, dtype=torch.float64)
    assert found < fourier(drawn)


def test_one_multiplier_a_layer_is_no_better_than_one_a_channel() -> None:
    torch.manual_seed(4)
    kernels = [torch.randn(4, 4, 3, 3, dtype=torch.float64) for _ in range(2)]
    drawn = chain([convolution((5, 5), kernel, padding=((1, 1), (1, 1))) for kernel in kernels])
    assert fourier(drawn) < fourier(drawn, by_layer=True) < torus_product(drawn) * (1 + 1e-5)


def test_few_frequencies_give_what_all_give() -> None:
    torch.manual_seed(5)
    kernels = [torch.randn(3, 3, 5, dtype=torch.float64) for _ in range(3)]
    drawn = chain([convolution((60,), kernel, padding=((2, 2),)) for kernel in kernels])
    built = Chain.of(layers(drawn), drawn.slopes, [norm(c, "2").upper for c in drawn.convolutions])
    system = built.system(half_frequencies(built.sides))
    at_once = minimise(system, *closed_form(system, built.ranges), gap=1e-8)
    found = least_rho(built, 1e-6, lambda _: False)
    assert found.frequencies < found.total
    assert float(at_once.optimum) <= float(found.rho) <= float(at_once.optimum) * (1 + 2e-6)
    assert float(found.optimum) <= float(at_once.rho)


def test_stopped_at_once_the_bound_is_still_proved() -> None:
    torch.manual_seed(6)
    kernels = [torch.randn(3, 3, 5, dtype=torch.float64) for _ in range(2)]
    drawn = chain([convolution((60,), kernel, padding=((2, 2),)) for kernel in kernels])
    built = Chain.of(layers(drawn), drawn.slopes, [1.0, 1.0])
    hurried, patient = (float(least_rho(built, 1e-6, lambda _, stop=stop: stop).rho) for stop in (True, False))
    assert patient < hurried


def test_a_system_that_no_point_satisfies_is_not_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof, not the solver, gives the bound: a solver that claims too much is corrected or refused."""
    torch.manual_seed(7)
    kernels = [torch.randn(2, 2, 3, dtype=torch.float64) for _ in range(2)]
    drawn = chain([convolution((12,), kernel, padding=((1, 1),)) for kernel in kernels])
    honest = fourier(drawn)

    def boastful(system: object, rho: Tensor, t: Tensor, **_: object) -> object:
        found = minimise(system, rho, t, gap=1e-6)
        return type(found)(found.rho * 0.9, found.t, found.z, found.s, found.optimum, found.iterations)

    monkeypatch.setattr("app.lipschitz.lipsdp.torus.search.minimise", boastful)
    assert fourier(drawn) >= honest * (1 - 1e-6)


def test_errors_of_stored_kernels_are_added() -> None:
    kernels = [torch.ones(1, 1, 1, dtype=torch.float64) for _ in range(3)]
    drawn = chain([convolution((4,), kernel) for kernel in kernels], 0.0, 2.0)
    exact = layers(drawn)
    stored = [Layer(replace(exact[0].convolution, error=1e-3), exact[0].activation), *exact[1:]]
    built = Chain.of(stored, drawn.slopes, [5.0, 3.0, 7.0])
    assert _of_errors(built, [5.0, 3.0, 7.0]) == pytest.approx(1e-3 * 3.0 * 7.0 * 2.0 * 2.0)
