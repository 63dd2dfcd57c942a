"""Batched bounds of small chains against enumeration of the slopes' vertices."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from app.lipschitz.lipsdp.dense.chain import slope_bounds
from tests.lipschitz.lipsdp.systems import random_weights


def largest(weights: list[Tensor], lower: list[Tensor], upper: list[Tensor]) -> float:
    """The maximum over all vertices, for one problem."""
    low, high = torch.cat(lower), torch.cat(upper)
    best = 0.0
    for choice in itertools.product([False, True], repeat=len(low)):
        slopes = torch.where(torch.tensor(choice), high, low).split([len(part) for part in lower])
        product = weights[0]
        for weight, d in zip(weights[1:], slopes, strict=True):
            product = weight @ (d[:, None] * product)
        best = max(best, float(torch.linalg.matrix_norm(product, 2)))
    return best


def boxes(sizes: list[int], count: int, seed: int) -> tuple[list[Tensor], list[Tensor]]:
    """Slope intervals of which about a third are single numbers."""
    generator = torch.Generator().manual_seed(seed)
    ends = [torch.rand(2, count, n, dtype=torch.float64, generator=generator) * 1.4 - 0.2 for n in sizes]
    fixed = [torch.rand(count, n, generator=generator) < 0.3 for n in sizes]
    lower = [end.amin(0) for end in ends]
    return lower, [torch.where(f, low, end.amax(0)) for f, low, end in zip(fixed, lower, ends, strict=True)]


@given(st.integers(0, 10**6), st.sampled_from([[3, 6, 2], [2, 4, 3, 2], [4, 2, 2, 2, 3]]))
def test_never_below_the_vertices(seed: int, sizes: list[int]) -> None:
    weights = random_weights(sizes, seed)
    lower, upper = boxes(sizes[1:-1], 3, seed)
    bounds = slope_bounds(weights, lower, upper, gap=1e-6)
    for p in range(3):
        true = largest(weights, [end[p] for end in lower], [end[p] for end in upper])
        assert true * (1 - 1e-12) <= float(bounds[p]) <= true * 1.35


def test_exact_where_nothing_is_free() -> None:
    weights = random_weights([3, 5, 4], 1)
    slopes = torch.rand(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    bounds = slope_bounds(weights, [slopes], [slopes])
    products = [torch.linalg.matrix_norm(weights[1] @ (s[:, None] * weights[0]), 2) for s in slopes]
    assert bounds.tolist() == pytest.approx([float(p) for p in products], rel=2e-3)
    assert all(b >= p for b, p in zip(bounds, products, strict=True))


@pytest.mark.parametrize("factor", [0.0, 1e-150, 1e150])
def test_any_scale(factor: float) -> None:
    weights = [factor * random_weights([3, 5, 4], 1)[0], random_weights([3, 5, 4], 1)[1]]
    zero = torch.zeros(1, 5, dtype=torch.float64)
    found = float(slope_bounds(weights, [zero], [zero + 1])[0])
    true = largest(weights, [zero[0]], [zero[0] + 1])
    assert true * (1 - 1e-12) <= found <= true * 1.02 + 1e-70


def test_a_product_below_all_floats_is_not_bounded_by_zero() -> None:
    weights = [1e-150 * weight for weight in random_weights([2, 3, 3, 2], 1)]
    ones = [torch.ones(1, 3, dtype=torch.float64)] * 2
    assert 0.0 < float(slope_bounds(weights, [0.0 * one for one in ones], ones)[0]) < 1e-300
