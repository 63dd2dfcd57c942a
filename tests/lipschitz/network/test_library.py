"""torch's elementary functions in float64 against mpmath: how many units in the last place they err by.

The enclosures trust them to `library.SHARE`, 64 units; decision 12's table says how many were seen.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import mpmath
import pytest
import torch

from app.lipschitz.network.scalars import library
from tests.lipschitz.network.scalar_battery import erfc, mp

PAGE = Path(__file__).parents[3] / "docs" / "decisions" / "0012-scalar-enclosures.md"
SEEN = 4.0
"""Units in the last place that no function may exceed: a sixteenth of what the enclosures allow."""
Real = Callable[[mpmath.mpf], mpmath.mpf]

UNARY: dict[str, tuple[Real, float, float]] = {
    "exp": (mp.exp, -745.0, 709.7),
    "exp2": (lambda x: mp.mpf(2) ** x, -1074.0, 1023.9),
    "expm1": (mp.expm1, -60.0, 709.7),
    "log": (mp.log, 0.0, 1e308),
    "log2": (lambda x: mp.log(x) / mp.ln2, 0.0, 1e308),
    "log10": (lambda x: mp.log(x) / mp.ln10, 0.0, 1e308),
    "log1p": (mp.log1p, -1.0, 1e308),
    "tanh": (mp.tanh, -1e308, 1e308),
    "erf": (lambda x: mp.erf(max(min(x, mp.mpf(30)), mp.mpf(-30))), -1e308, 1e308),
    "erfc": (erfc, -1e3, 28.0),
    "atan": (mp.atan, -1e308, 1e308),
    "asinh": (mp.asinh, -1e308, 1e308),
    "tan": (mp.tan, -1e9, 1e9),
}  # fmt: skip
EXPONENTS = (0.3, -0.7, 0.5, 1.5, -1.5, 2.0, 3.0, 16.0, -1.0, -2.0, 1e-3, 41.25)


def points(low: float, high: float, count: int, rng: random.Random) -> Iterator[float]:
    """Of all scales, uniform ones, and ones next to the ends, 0, 1 and -1."""
    for i in range(count):
        if i % 3 == 0:
            x = rng.choice([-1, 1]) * 10.0 ** rng.uniform(-307, 308)
        elif i % 3 == 1:
            x = rng.uniform(max(low, -50.0), min(high, 50.0)) * rng.choice([1.0, 1.0, 14.0])
        else:
            x = rng.choice([low, high, 0.0, 1.0, -1.0]) + rng.choice([-1, 1]) * 10.0 ** rng.uniform(-17, 0)
        if low < x < high:
            yield x


def units(found: float, exact: mpmath.mpf) -> float:
    """The error in units in the last place; what lies below the least normal number counts by that number's unit."""
    return float(abs(mp.mpf(found) - exact) / math.ulp(max(abs(float(exact)), library.TINY)))


def worst(function: Callable[[torch.Tensor], torch.Tensor], exact: Real, xs: list[float]) -> float:
    computed = function(torch.tensor(xs, dtype=torch.float64)).tolist()
    with mp.workdps(40):
        found = [(y, exact(mp.mpf(x))) for x, y in zip(xs, computed, strict=True)]
        return max(units(y, z) for y, z in found if abs(z) < library.LARGEST)


def worst_unary(name: str, count: int, seed: int) -> float:
    exact, low, high = UNARY[name]
    function = {**library.INCREASING, **library.DECREASING}[name]
    return worst(function, exact, list(points(low, high, count, random.Random(seed))))


def worst_power(count: int, seed: int) -> float:
    rng, most = random.Random(seed), 0.0
    for a in EXPONENTS:
        exponent, xs = torch.tensor(a, dtype=torch.float64), [abs(x) for x in points(-1e300, 1e300, count, rng)]
        most = max(most, worst(lambda x, a=exponent: torch.pow(x, a), lambda x, a=a: x ** mp.mpf(a), xs))
    return most


def worst_hypot(count: int, seed: int) -> float:
    rng, most = random.Random(seed), 0.0
    for c in (1.0, 1e-3, 1e-150, 1e150):
        xs = list(points(-1e307, 1e307, count, rng))
        other = torch.tensor(c, dtype=torch.float64)
        exact = lambda x, c=c: mp.sqrt(x * x + mp.mpf(c) ** 2)  # noqa: E731
        most = max(most, worst(lambda x, c=other: torch.hypot(*torch.broadcast_tensors(x, c)), exact, xs))
    return most


def test_every_function_that_is_trusted_is_measured() -> None:
    assert set(UNARY) == set(library.INCREASING) | set(library.DECREASING)
    rows = [row.split("|")[1:-1] for row in PAGE.read_text().splitlines() if row.startswith("| `")]
    seen = {cells[0].strip(" `"): float(cells[1]) for cells in rows if len(cells) == 2}
    assert set(seen) == {*UNARY, "power", "hypot"}
    assert max(seen.values()) <= SEEN


@pytest.mark.parametrize("name", [*UNARY, "power", "hypot"])
def test_library_functions_err_by_a_few_units(name: str) -> None:
    assert measure(name, 60, 1) <= SEEN


@pytest.mark.slow
@pytest.mark.parametrize("name", [*UNARY, "power", "hypot"])
def test_library_functions_err_by_a_few_units_on_many_points(name: str) -> None:
    assert measure(name, 20_000, 2) <= SEEN


def measure(name: str, count: int, seed: int) -> float:
    if name == "power":
        return worst_power(count, seed)
    return worst_hypot(count, seed) if name == "hypot" else worst_unary(name, count, seed)


def test_subnormal_numbers_are_not_flushed() -> None:
    """The arithmetic between the library functions counts on IEEE 754, gradual underflow included."""
    tiny = torch.tensor([2.0**-1074, 2.0**-1030], dtype=torch.float64)
    assert (tiny * 0.75 + 0.0).tolist() == [2.0**-1074, 0.75 * 2.0**-1030]
    assert float(torch.tensor(2.0**-540, dtype=torch.float64).square()) == 0.0
    assert torch.nextafter(torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)).item() == 2.0**-1074
