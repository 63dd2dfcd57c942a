"""Lines around every scalar function: below and above it in 60 digits, and no further away than its curvature asks."""

from __future__ import annotations

import math
import random

import pytest
import torch

from app.lipschitz.bounds.lines import Lines, lines
from app.lipschitz.network.scalar import Scalar
from app.lipschitz.network.scalars import rectifiers, sigmoids, swishes
from app.lipschitz.network.scalars.rounded import Rounded
from tests.lipschitz.network.scalar_battery import FUNCTIONS, entry, intervals, mp, points_of, special_points, value

QUICK, LONG = 14, 300


def crossings(name: str, count: int, seed: int) -> list[str]:
    """Where a line is on the wrong side of the function."""
    own, rng = entry(name), random.Random(seed)
    cases = list(intervals(own.scalar, count, rng))
    lower, upper = (torch.tensor(ends, dtype=torch.float64) for ends in zip(*cases, strict=True))
    found, wrong = lines(own.scalar, lower, upper), []
    below, above = (
        list(zip(*(part.expand_as(lower).tolist() for part in line), strict=True))
        for line in (found.lower, found.upper)
    )
    for i, (low, high) in enumerate(cases):
        points = points_of(low, high, special_points(own.scalar), rng)
        values = [value(own.exact, x) for x in points]
        if any(y is None for y in values):
            continue
        for x, y in zip(points, values, strict=True):
            assert y is not None
            slack = mp.mpf(10) ** -33 * abs(y)
            for sign, (slope, offset) in ((1, below[i]), (-1, above[i])):
                if math.isfinite(offset) and sign * (y - mp.mpf(slope) * x - mp.mpf(offset)) < -slack:
                    wrong.append(f"{sign} {slope!r} x + {offset!r} at {x!r} of [{low!r}, {high!r}]: {mp.nstr(y, 20)}")
    return wrong


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_line_crosses_the_function(name: str) -> None:
    assert crossings(name, QUICK, 1) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_line_crosses_the_function_on_many_intervals(name: str) -> None:
    assert crossings(name, LONG, 2) == []


def on(scalar: Scalar, *ends: tuple[float, float]) -> Lines:
    lower, upper = torch.tensor(ends, dtype=torch.float64).T
    return lines(scalar, lower, upper)


def test_lines_of_a_relu_are_those_of_crown() -> None:
    found = on(rectifiers.relu(), (-1.0, 3.0), (-3.0, 1.0), (1.0, 2.0), (-2.0, -1.0))
    assert found.lower[0].tolist() == [1.0, 0.0, 1.0, 0.0]
    assert found.upper[0].tolist() == pytest.approx([0.75, 0.25, 1.0, 0.0])
    assert found.lower[1].tolist() == pytest.approx([0.0] * 4, abs=1e-15)
    assert found.upper[1].tolist() == pytest.approx([0.75, 0.75, 0.0, 0.0], abs=1e-15)


def test_lines_of_rounding_leave_room_for_all_of_its_noise() -> None:
    found = on(Rounded(lambda x: x, -1.0, 0.5), (-1.0, 3.0), (-3.0, 1e3))
    x = torch.tensor([[-1.0, -3.0], [3.0, 1e3]], dtype=torch.float64)
    assert bool((found.lower[0] * x + found.lower[1] <= x - 1.0).all())
    assert bool((found.upper[0] * x + found.upper[1] >= x + 0.5).all())


@pytest.mark.parametrize("scalar", [sigmoids.tanh(), sigmoids.sigmoid(), swishes.silu(), swishes.gelu()])
def test_the_distance_falls_with_the_square_of_the_length(scalar: Scalar) -> None:
    """Chords and tangents stay within half the curvature times the length squared, inflections included."""
    for middle in (-2.0, 0.0, 0.5, 3.0):
        for length in (1e-1, 1e-2, 1e-3):
            found = on(scalar, (middle - length / 2, middle + length / 2))
            gap = (found.upper[0] - found.lower[0]) * middle + found.upper[1] - found.lower[1]
            assert 0.0 <= float(gap) <= 0.5 * length**2


def test_what_is_unbounded_has_constants() -> None:
    found = on(rectifiers.relu(), (-1.0, math.inf), (-math.inf, 5.0))
    assert found.lower[0].tolist() == found.upper[0].tolist() == [0.0, 0.0]
    assert found.lower[1].tolist() == [0.0, 0.0]
    assert found.upper[1].tolist() == [math.inf, 5.0]
