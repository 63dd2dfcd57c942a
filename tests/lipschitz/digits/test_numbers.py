"""Long numbers against Python's integers, and the captured graph's operators against 400-bit references."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from app.lipschitz.deadline import NEVER
from app.lipschitz.digits.evaluate import values_at
from app.lipschitz.digits.functions import reciprocal, square_root
from app.lipschitz.digits.multiplication import product
from app.lipschitz.digits.number import Number, add, ends, exact, integers, maximum, sign
from tests.lipschitz.helpers import captured

ANY = st.floats(allow_nan=False, allow_infinity=False)
ROWS = st.lists(st.tuples(ANY, ANY), min_size=1, max_size=6)


def fractions(x: Number) -> list[Fraction]:
    whole, exponent = integers(x)
    return [int(n) * Fraction(2) ** exponent for n in whole]


def columns(rows: list[tuple[float, float]]) -> tuple[Tensor, Tensor, list[tuple[Fraction, Fraction]]]:
    left, right = torch.tensor(rows, dtype=torch.float64).unbind(1)
    return left, right, [(Fraction(a), Fraction(b)) for a, b in rows]


@given(ROWS)
def test_arithmetic_is_exact(rows: list[tuple[float, float]]) -> None:
    left, right, pairs = columns(rows)
    x, y = exact(left), exact(right)
    assert fractions(x) == [a for a, _ in pairs]
    assert fractions(add(x, y, 10**9, -1.0)) == [a - b for a, b in pairs]
    assert fractions(product(torch.mul, x, y, 1, 10**9)) == [a * b for a, b in pairs]
    assert fractions(maximum(x, y, 10**9)) == [max(a, b) for a, b in pairs]
    assert sign(add(x, y, 10**9)).tolist() == [(a + b > 0) - (a + b < 0) for a, b in pairs]
    dot = product(torch.matmul, exact(left[None]), exact(right[:, None]), len(rows), 10**9)
    assert fractions(dot) == [sum(a * b for a, b in pairs)]


@given(ROWS, st.integers(1, 12))
def test_what_few_digits_lose_is_counted(rows: list[tuple[float, float]], places: int) -> None:
    left, right, pairs = columns(rows)
    x, y = exact(left), exact(right)
    total = add(x, y, places)
    both = add(product(torch.mul, total, total, 1, places), x, places)
    for one, true in ((total, [a + b for a, b in pairs]), (both, [(a + b) ** 2 + a for a, b in pairs])):
        error = torch.zeros(len(rows)) if one.error is None else one.error
        for found, meant, bound in zip(fractions(one), true, error.tolist(), strict=True):
            assert bound == float("inf") or abs(found - meant) <= Fraction(bound)
        lower, upper = (end.tolist() for end in ends(one))
        assert all(low <= meant <= high for low, meant, high in zip(lower, true, upper, strict=True))


@given(st.lists(st.floats(1e-300, 1e300), max_size=4))
def test_quotients_and_roots(values: list[float]) -> None:
    x = exact(torch.tensor(values, dtype=torch.float64))
    for value, inverse, root in zip(values, fractions(reciprocal(x, 12)), fractions(square_root(x, 12)), strict=True):
        assert abs(inverse * Fraction(value) - 1) <= Fraction(1, 2**190)
        assert abs(root * root / Fraction(value) - 1) <= Fraction(1, 2**190)


class Pooled(nn.Module):
    """Convolutions, a batch norm, every kind of pooling, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 3, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.second = nn.ConvTranspose2d(3, 2, 2, stride=2)
        self.last = nn.Linear(2, 3)
        with torch.no_grad():
            self.norm.running_mean.normal_()
            self.norm.running_var.uniform_(0.5, 2.0)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.max_pool2d(torch.relu(self.norm(self.first(x))), 2, 1, 1)
        x = nn.functional.avg_pool2d(self.second(x), 3, 2, 1, count_include_pad=False)
        x = nn.functional.leaky_relu(torch.nn.functional.adaptive_avg_pool2d(x, 1).flatten(1), 0.1)
        return self.last(x.clamp(-1.0, 1.0)).abs()


class Smooth(nn.Module):
    """What is enclosed by float64 ends."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.first(x))
        x = torch.sigmoid(self.second(x)) * nn.functional.gelu(x)
        return torch.cat([x.exp(), nn.functional.elu(x), nn.functional.softplus(x)], 1)


@pytest.mark.parametrize(("make", "shape"), [(Pooled, (1, 2, 8, 8)), (Smooth, (1, 4))])
def test_graphs_agree_with_torch(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    """To float64's rounding; and 24 digits lie within the error of 6."""
    torch.manual_seed(0)
    graph = captured(make(), shape)
    x = torch.randn(torch.Size(shape).numel(), dtype=torch.float64)
    expected = graph.graph(x.reshape(shape))[0].detach().reshape(-1)
    few, many = (values_at(graph, [0], [x], places, NEVER)[0] for places in (6, 24))
    assert few.error is not None
    assert float(few.error.max()) < 1e-9
    assert torch.allclose(sum(ends(few)) / 2, expected, rtol=1e-12, atol=1e-12)
    assert many.error is not None
    allowed = [Fraction(e) + Fraction(f) for e, f in zip(few.error.tolist(), many.error.tolist(), strict=True)]
    assert all(abs(a - b) <= e for a, b, e in zip(fractions(few), fractions(many), allowed, strict=True))


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_a_folded_graph_is_not_what_is_evaluated(seed: int) -> None:
    """Products of stored weights in the graph: exact, where float64 would round them."""
    torch.manual_seed(seed)
    first, second = (nn.Linear(3, 3, bias=False).double() for _ in range(2))
    graph = captured(nn.Sequential(first, second), (1, 3))
    x = torch.randn(3, dtype=torch.float64)
    found = fractions(values_at(graph, [0], [x], 10**6, NEVER)[0])
    a, b = ([[Fraction(w) for w in row] for row in layer.weight.tolist()] for layer in (first, second))
    inner = [sum(w * Fraction(v) for w, v in zip(row, x.tolist(), strict=True)) for row in a]
    assert found == [sum(w * v for w, v in zip(row, inner, strict=True)) for row in b]


@pytest.mark.parametrize("value", [1.7976931348623157e308, 2.0**1023, 5e-324, 3 * 5e-324, 2.0**-1074 * 2**20, 131072.0])
def test_a_number_is_cut_into_digits_exactly(value: float) -> None:
    stored = torch.tensor([value, -value, 0.0, 1.0, 5e-324], dtype=torch.float64)
    found = exact(stored)
    whole, exponent = integers(found)
    assert float(found.digits.abs().max()) <= 2.0**17
    assert [Fraction(n) * Fraction(2) ** exponent for n in whole.tolist()] == [Fraction(v) for v in stored.tolist()]


@pytest.mark.parametrize("clamp", [torch.ops.aten.hardtanh.default, torch.ops.aten.clamp.default])
def test_what_a_clamp_drops_beside_large_numbers_counts(clamp: Any) -> None:
    """-1 lies 2^460 below the tensor's largest entry: few digits cannot tell it from 0, and have to say so."""
    scale = torch.tensor([-1e138, 6e140], dtype=torch.float64)
    graph = captured(lambda x: clamp(x / 3 * scale, -1.0, 1e300), (2,))
    [found] = values_at(graph, [0], [torch.tensor([0.7, 0.9], dtype=torch.float64)], 6, NEVER)
    assert found.error is not None
    assert abs(float(fractions(found)[0]) + 1) <= float(found.error[0])
