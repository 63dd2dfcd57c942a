"""Symbols against dense cyclic convolutions, and the inequality of all frequencies against the one on the torus."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from app.lipschitz.certificate.balls import Ball
from app.lipschitz.certificate.cholesky import is_positive
from app.lipschitz.certificate.fields import InvalidCertificate
from app.lipschitz.certificate.fourier import Neurons, proves
from app.lipschitz.certificate.torus import Torus
from app.lipschitz.lipsdp.torus.chain import coarse_sides
from tests.effort import examples
from tests.lipschitz.lipsdp.fourier_chains import Drawn, chains, cyclic, layers
from tests.lipschitz.operators.convolutions import convolution

ROOM = st.integers(0, 2)


def torus_of(drawn: Drawn, more: int = 0) -> Torus:
    sides = tuple(side + more for side in coarse_sides(layers(drawn)))
    return Torus(tuple(drawn.convolutions), sides)


def dense(torus: Torus) -> list[np.ndarray]:
    """The cyclic convolutions as matrices on channels, then points."""
    found = []
    for c, phases in zip(torus.convolutions, torus.phases, strict=False):
        whole = cyclic(c, tuple(p * n for p, n in zip(phases, torus.coarse, strict=True)))
        found.append(whole.flatten(0, len(torus.coarse)).flatten(1).numpy())
    return found


@pytest.mark.parametrize("dimensions", [1, 2])
@examples(25)
@given(data=st.data(), more=ROOM)
def test_symbols_have_the_singular_values_of_the_cyclic_map(data: st.DataObject, more: int, dimensions: int) -> None:
    torus = torus_of(data.draw(chains(dimensions)), more)
    torus.check()
    found = [torus.symbols(w) for w in np.ndindex(*torus.coarse)]
    for k, whole in enumerate(dense(torus)):
        values = np.concatenate([np.linalg.svd(one[k].middle, compute_uv=False)[::2] for one in found])
        expected = np.linalg.svd(whole, compute_uv=False)
        size = max(len(values), len(expected))
        values, expected = (np.sort(np.pad(x, (0, size - len(x)))) for x in (values, expected))
        assert np.allclose(values, expected, atol=1e-12 * (1 + expected[-1]))
        assert all((one[k].radius <= 1e-12 * (1 + np.abs(whole).sum())).all() for one in found)


@examples(25)
@given(data=st.data(), more=ROOM)
def test_products_of_symbols_are_those_of_the_cyclic_maps(data: st.DataObject, more: int) -> None:
    """Phases and channels are laid out alike from map to map: singular values of the whole product agree."""
    torus = torus_of(data.draw(chains(1)), more)
    whole = np.linalg.multi_dot([*dense(torus)[::-1], np.eye(dense(torus)[0].shape[1])])
    values = []
    for w in np.ndindex(*torus.coarse):
        product = np.eye(2 * torus.widths[0])
        for one in torus.symbols(w):
            product = one.middle @ product
        values.append(np.linalg.norm(product, 2))
    assert max(values) == pytest.approx(np.linalg.norm(whole, 2), rel=1e-11, abs=1e-12)


def test_half_of_the_frequencies_are_left_out() -> None:
    torus = Torus((convolution((5, 4), torch.ones(1, 1, 1, 1, dtype=torch.float64)),), (5, 4))
    chosen = set(torus.frequencies())
    mirrored = {(-a % 5, -b % 4) for a, b in chosen}
    assert chosen | mirrored == set(np.ndindex(5, 4))
    assert len(chosen) == 11


def inequality(torus: Torus, maps: list[Neurons], rho: float) -> np.ndarray:
    """The constraint of [F19] on all points of the torus, by its definition."""
    matrices = dense(torus)
    ends = np.cumsum([0, *(matrix.shape[1] for matrix in matrices)])
    total = np.diag(np.where(np.arange(ends[-1]) < ends[1], rho, 0.0))
    for k, one in enumerate(maps):
        place = by_phase(torus, k + 1)
        low, high, t = (x[place] for x in (one.lower, one.upper, one.multipliers))
        v = np.zeros((len(place), ends[-1]))
        v[:, ends[k] : ends[k + 1]] = matrices[k]
        e = np.eye(ends[-1])[ends[k + 1] : ends[k + 2]]
        u, w = e - low[:, None] * v, e - high[:, None] * v
        total += u.T @ (t[:, None] * w) + w.T @ (t[:, None] * u)
    last = np.zeros((len(matrices[-1]), ends[-1]))
    last[:, ends[-2] :] = matrices[-1]
    return total - last.T @ last


def by_phase(torus: Torus, k: int) -> np.ndarray:
    """The position, among channels times phases, of every point of map k."""
    phases = torus.phases[k]
    sides = tuple(p * n for p, n in zip(phases, torus.coarse, strict=True))
    channels = torus.widths[k] // math.prod(phases)
    phase = np.ravel_multi_index([axis % p for axis, p in zip(np.indices(sides), phases, strict=True)], phases)
    return (np.arange(channels)[:, None] * math.prod(phases) + phase.ravel()).ravel()


@examples(30)
@given(data=st.data(), seed=st.integers(0, 10**6), dimensions=st.sampled_from([1, 1, 2]))
def test_the_inequality_holds_at_all_frequencies_when_it_does_on_the_torus(
    data: st.DataObject, seed: int, dimensions: int
) -> None:
    drawn = data.draw(chains(dimensions))
    torus = torus_of(drawn)
    if sum(matrix.shape[1] for matrix in dense(torus)) > 300:
        return
    rng = np.random.default_rng(seed)
    norms = np.cumprod([max(np.linalg.norm(matrix, 2), 1e-3) for matrix in dense(torus)])
    maps = []
    for k, (width, (low, high)) in enumerate(zip(torus.widths[1:-1], drawn.slopes.values(), strict=True)):
        level = (norms[-1] / norms[k]) ** 2 * 4.0 ** (len(norms) - k)
        ends = np.full(width, min(float(low[0]), 0.0)), np.full(width, max(float(high[0]), 0.0))
        maps.append(Neurons(*ends, level * np.exp(0.3 * rng.normal(size=width))))
    least = least_rho(torus, maps)
    if least is None:
        return
    assert proves(torus, maps, least * (1 + 1e-7))
    assert not proves(torus, maps, least * (1 - 1e-7))


@pytest.mark.parametrize("ends", [(0.0, 1.0), (-0.13, 1.13), (-1.0, 0.0), (-0.5, 0.2)])
@pytest.mark.parametrize("stride", [1, 2])
def test_any_slopes_around_zero_and_no_more(ends: tuple[float, float], stride: int) -> None:
    generator = torch.Generator().manual_seed(stride)
    first, last = (torch.randn(2, 2, 3, dtype=torch.float64, generator=generator) for _ in range(2))
    inner = convolution((8,), first, padding=((1, 1),))
    torus = Torus((inner, convolution((8,), last, padding=((1, 0),), stride=(stride,))), (10 // stride,))
    width = torus.widths[1]
    level = np.linalg.norm(dense(torus)[1], 2) ** 2 * np.linspace(1.0, 2.0, width)
    maps = [Neurons(np.full(width, ends[0]), np.full(width, ends[1]), level)]
    least = least_rho(torus, maps)
    assert least is not None
    assert proves(torus, maps, least * (1 + 1e-9))
    assert not proves(torus, maps, least * (1 - 1e-9))


def least_rho(torus: Torus, maps: list[Neurons]) -> float | None:
    """By a Schur complement on the torus; None where the multipliers prove nothing."""
    whole = inequality(torus, maps, 0.0)
    n = dense(torus)[0].shape[1]
    rest = whole[n:, n:]
    if np.linalg.eigvalsh(rest)[0] <= 1e-9 * np.abs(rest).max():
        return None
    across = np.linalg.solve(rest, whole[n:, :n])
    least = float(np.linalg.eigvalsh(whole[:n, n:] @ across - whole[:n, :n])[-1])
    return least if least > 1e-6 else None


def test_a_kernel_off_by_its_error_counts() -> None:
    kernel = torch.tensor([[[1.0, 2.0, 1.0]]], dtype=torch.float64)
    first = convolution((6,), kernel, padding=((1, 1),))
    maps = [Neurons(np.zeros(1), np.ones(1), np.full(1, 40.0))]
    tori = [Torus((first, replace(first, error=error)), (8,)) for error in (0.0, 1e-9, 1e-3)]
    least = least_rho(tori[0], maps)
    assert least is not None
    assert [proves(torus, maps, least * (1 + 1e-7)) for torus in tori] == [True, True, False]
    assert proves(tori[2], maps, least * 1.1)


ROOMS = [((7,), "map and its padding"), ((8, 8), "axes"), ((), "axes"), ((0,), "axes")]


@pytest.mark.parametrize(("sides", "reason"), ROOMS)
def test_a_torus_needs_room(sides: tuple[int, ...], reason: str) -> None:
    kernel = torch.ones(1, 1, 3, dtype=torch.float64)
    both = convolution((6,), kernel, padding=((0, 2),)), convolution((6,), kernel, padding=((1, 1),))
    Torus(both, (8,)).check()
    with pytest.raises(InvalidCertificate, match=reason):
        Torus(both, sides).check()


def test_the_last_map_needs_room() -> None:
    kernel = torch.ones(1, 1, 1, dtype=torch.float64)
    grown = convolution((4,), kernel, padding=((2, 2),))
    with pytest.raises(InvalidCertificate, match="last map"):
        Torus((grown,), (7,)).check()
    Torus((grown,), (8,)).check()


def test_balls_of_symbols_are_real_forms() -> None:
    c = convolution((4,), torch.tensor([[[1.0, -2.0]]], dtype=torch.float64), padding=((1, 0),))
    (symbol,) = Torus((c,), (5,)).symbols((2,))
    turn = np.exp(2j * np.pi * 2 / 5)
    value = turn**-1 - 2.0
    assert np.allclose(symbol.middle, [[value.real, -value.imag], [value.imag, value.real]], atol=1e-15)
    assert is_positive(Ball.exact(np.eye(2) * 9.1) + -(symbol.transposed @ symbol))
