"""Pairs against all vertices by brute force: searches below, certified bounds above, greedy as published."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from app.lipschitz.deadline import SPENT, Deadline
from app.lipschitz.pace import Pace
from app.lipschitz.seqlip.pairs.ascent import ascend, best, starts
from app.lipschitz.seqlip.pairs.bounds import semidefinite_bounds
from app.lipschitz.seqlip.pairs.branching import branch
from app.lipschitz.seqlip.pairs.enumeration import enumerate_vertices
from app.lipschitz.seqlip.pairs.greedy import greedy
from app.lipschitz.seqlip.pairs.multiplier import weighted_bound
from app.lipschitz.seqlip.pairs.pair import Pair, alive
from app.lipschitz.seqlip.pairs.solve import enclose_maximum, search
from tests.effort import examples

SOON = 20.0


def random_pair(p: int, n: int, k: int, seed: int, ends: str = "relu") -> Pair:
    """Gaussian layers; slopes of ReLU, of GELU, or of every neuron's own, some of them fixed or zero."""
    generator = torch.Generator().manual_seed(seed)
    outer, inner, raw = (
        torch.randn(*shape, dtype=torch.float64, generator=generator) for shape in ((p, n), (n, k), (2, n))
    )
    lower, upper = torch.zeros(n, dtype=torch.float64), torch.ones(n, dtype=torch.float64)
    if ends == "gelu":
        lower, upper = lower - 0.13, upper + 0.13
    if ends == "own":
        lower, upper = raw.amin(0), raw.amax(0)
        lower[0], upper[0] = 0.0, 0.0
        upper[1] = lower[1]
    return Pair(outer, inner, lower, upper)


def brute_force(pair: Pair) -> float:
    ends = zip(pair.lower.tolist(), pair.upper.tolist(), strict=True)
    vertices = torch.tensor(list(itertools.product(*ends)), dtype=torch.float64)
    matrices = pair.outer @ (vertices[:, :, None] * pair.inner)
    return float(torch.linalg.matrix_norm(matrices, 2).max())


def published_greedy(pair: Pair) -> Tensor:
    """One singular value decomposition a flip [VS18, section 5]."""
    slopes, value = pair.steepest(), 0.0
    while True:
        candidates = slopes.repeat(pair.width, 1)
        candidates.diagonal().copy_(pair.flipped(slopes))
        values = pair.values(torch.cat([slopes[None], candidates]))
        value, j = float(values[0]), int(values[1:].argmax())
        if float(values[1 + j]) <= value * (1 + 1e-12):
            return slopes
        slopes = candidates[j]


sizes = st.tuples(st.integers(1, 8), st.integers(2, 8), st.integers(1, 8))
slopes_of = st.sampled_from(["relu", "gelu", "own"])


@examples(60)
@given(sizes, st.integers(0, 10_000), slopes_of)
def test_enumeration_is_the_maximum(size: tuple[int, int, int], seed: int, ends: str) -> None:
    pair = random_pair(*size, seed, ends)
    truth = brute_force(pair)
    found = enclose_maximum(pair, 1e-6, Deadline.after(SOON))
    assert found.attained <= truth * (1 + 1e-12) + 1e-14
    assert truth * (1 - 1e-12) <= found.certified <= truth * (1 + 1e-9) + 1e-12


@examples(12)
@given(sizes, st.integers(0, 10_000), slopes_of)
def test_box_bounds_hold_in_every_box(size: tuple[int, int, int], seed: int, ends: str) -> None:
    pair = alive(random_pair(*size, seed, ends))
    if len(pair.free) == 0:
        return
    fixed = pair.free[0]
    lower, upper = pair.lower.repeat(2, 1), pair.upper.repeat(2, 1)
    upper[1, fixed] = pair.lower[fixed]
    truths = [brute_force(Pair(pair.outer, pair.inner, *box)) for box in zip(lower, upper, strict=True)]
    bounds = semidefinite_bounds(pair, 1e-4)(lower, upper).tolist()
    assert all(truth * (1 - 1e-12) <= bound for truth, bound in zip(truths, bounds, strict=True))
    cheap = [weighted_bound(Pair(pair.outer, pair.inner, *box))[0] for box in zip(lower, upper, strict=True)]
    assert all(truth * (1 - 1e-12) <= bound for truth, bound in zip(truths, cheap, strict=True))


@pytest.mark.parametrize("ends", ["relu", "gelu", "own"])
@pytest.mark.parametrize("size", [(9, 12, 10), (20, 60, 30), (5, 40, 3)])
def test_the_multiplier_bound_is_nearly_the_semidefinite_one(size: tuple[int, int, int], ends: str) -> None:
    pair = alive(random_pair(*size, 5, ends))
    optimum = float(semidefinite_bounds(pair, 1e-6)(pair.lower[None], pair.upper[None]))
    assert optimum * (1 - 1e-6) <= weighted_bound(pair)[0] <= optimum * 1.005


@pytest.mark.parametrize("ends", ["relu", "gelu", "own"])
@pytest.mark.parametrize("size", [(9, 12, 10), (20, 30, 6), (4, 25, 40), (1, 10, 5)])
def test_greedy_ends_where_the_published_one_does(size: tuple[int, int, int], ends: str) -> None:
    pair = alive(random_pair(*size, 3, ends))
    ours, theirs = pair.values(torch.stack([greedy(pair), published_greedy(pair)])).tolist()
    assert ours == pytest.approx(theirs, rel=1e-11)


@pytest.mark.parametrize("seed", range(4))
def test_ascent_never_falls_and_search_is_no_worse_than_greedy(seed: int) -> None:
    pair = random_pair(7, 18, 9, seed)
    begin = starts(pair, 16, torch.Generator().manual_seed(seed))
    end = ascend(pair, begin)
    assert bool((pair.values(end) >= pair.values(begin) * (1 - 1e-9)).all())
    assert bool(((end == pair.lower) | (end == pair.upper)).all())
    found = search(pair, 16, Deadline.after(SOON))
    both = pair.values(torch.stack([found, best(pair, end), greedy(pair)]))
    assert float(both[0]) >= float(both.max()) * (1 - 1e-14)


@pytest.mark.parametrize("ends", ["relu", "own"])
def test_branch_and_bound_closes_to_the_gap(ends: str) -> None:
    pair = alive(random_pair(5, 14, 6, 1, ends))
    exact = enumerate_vertices(pair)
    bound = semidefinite_bounds(pair, 1e-4)
    root = float(bound(pair.lower[None], pair.upper[None])[0])
    worst = pair.flipped(pair.steepest())
    found = branch(pair, bound, worst, root=root, gap=1e-4, deadline=Deadline.after(SOON))
    value = float(pair.values(found.slopes[None])[0])
    assert value <= exact.upper <= found.upper * (1 + 1e-12)
    assert found.upper <= value * (1 + 1e-4)


def test_branch_and_bound_stays_certified_when_there_is_no_time() -> None:
    pair = random_pair(8, 40, 8, 2)
    bound = semidefinite_bounds(pair, 1e-3)
    root = float(bound(pair.lower[None], pair.upper[None])[0])
    found = branch(pair, bound, pair.steepest(), root=root, gap=1e-9, deadline=Deadline.after(0.5))
    assert float(pair.values(search(pair, 32, Deadline.after(SOON))[None])[0]) <= found.upper <= root


def test_little_time_still_gives_a_bound() -> None:
    pair = random_pair(8, 40, 8, 2)
    found = enclose_maximum(pair, 1e-3, Deadline(SOON, clock=lambda: 0.0, pace=Pace(rate=1e5)))
    assert found.method == "multiplier"
    assert 0 < found.attained <= found.certified < math.inf


def test_without_time_nothing_is_claimed_of_a_pair() -> None:
    """AutoLip's product stands in for it."""
    found = enclose_maximum(random_pair(8, 40, 8, 2), 1e-3, SPENT)
    assert (found.attained, found.certified) == (0.0, math.inf)


def test_all_slopes_zero() -> None:
    pair = random_pair(3, 4, 3, 0)
    still = Pair(pair.outer, pair.inner, pair.lower, pair.lower)
    assert enclose_maximum(still, 1e-3, Deadline.after(SOON)).certified == 0.0
