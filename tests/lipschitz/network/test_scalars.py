"""Every scalar function against 60 digits: values and difference quotients lie in the enclosures, which are tight."""

from __future__ import annotations

import importlib
import inspect
import itertools
import math
import pkgutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from app.lipschitz.network import scalars
from app.lipschitz.network.nodes import Activation
from app.lipschitz.network.rules.elementwise import DESCRIBED
from app.lipschitz.network.scalar import PiecewiseMonotone, Place, Scalar
from app.lipschitz.network.scalars import rectifiers, sigmoids
from tests.lipschitz.helpers import network_of
from tests.lipschitz.network.scalar_battery import FUNCTIONS, check, entry, holds, mp, quotient, special_points

PLAIN = sorted(name for name in FUNCTIONS if not name.startswith(("waves", "fused")))
DECOMPOSED = {"relu6.default", "square.default"}
"""torch traces these as hardtanh and pow."""
STEEP = ("exponentials.exponential", "exponentials.logarithm", "powers", "rectifiers.leaky(1e+300)",
         "rectifiers.clip(1, -1)", "rectifiers.clip(-1e300, 1e300)")  # fmt: skip
QUICK, LONG = 14, 600


def interval(low: float, high: float) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([low], dtype=torch.float64), torch.tensor([high], dtype=torch.float64)


def slopes(scalar: Scalar, low: float, high: float) -> tuple[float, float]:
    least, most = scalar.slopes(*interval(low, high))
    return float(least), float(most)


def test_every_scalar_function_is_in_the_battery() -> None:
    makers = set()
    for module in pkgutil.iter_modules(scalars.__path__):
        room = importlib.import_module(f"{scalars.__name__}.{module.name}")
        for name, found in inspect.getmembers(room):
            own = getattr(found, "__module__", "") == room.__name__ and not name.startswith("_")
            makes = inspect.isfunction(found) and str(found.__annotations__.get("return")) in (
                "PiecewiseMonotone",
                "Scalar",
            )
            if own and (makes or (inspect.isclass(found) and issubclass(found, Scalar))):
                makers.add(f"{module.name}.{name}")
    unknown = {"rounded.Rounded"}  # not one function but all x + d, tested with noise
    assert makers - unknown == {name.partition("(")[0] for name in FUNCTIONS if not name.startswith("fused")}


def test_every_elementwise_operator_is_in_the_battery() -> None:
    plain = [name for name in FUNCTIONS if not name.startswith("fused")]
    seen = {operator for name in plain for operator in entry(name).operators}
    assert set(DESCRIBED) - DECOMPOSED <= seen


@pytest.mark.parametrize("name", FUNCTIONS)
def test_enclosures_hold(name: str) -> None:
    assert check(entry(name), QUICK, 1) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_enclosures_hold_on_many_intervals(name: str) -> None:
    assert check(entry(name), LONG, 2) == []


def absolute(name: str, x: float) -> float:
    """Where a swish's derivative crosses zero, only its absolute error is small."""
    return 1e-13 if name.startswith("swishes") and abs(x) < 40 else 1e-290


@pytest.mark.parametrize("name", PLAIN)
def test_enclosures_of_single_points_are_tight(name: str) -> None:
    scalar = entry(name).scalar
    assert isinstance(scalar, PiecewiseMonotone)
    near = [at + side * 1e-3 * (1 + abs(at)) for at in special_points(scalar) for side in (-1, 1)]
    meets = [knot.place for knot in scalar.knots if knot.right is not None]
    xs = [*near, *(side * 10.0**k for k in (-300, -30, -8, -1, 0, 1, 2, 8) for side in (-1, 1))]
    allowed = [x for x in xs if scalar.start is None or x > scalar.start]
    points = torch.tensor([x for x in allowed if not any(place.at == x for place in meets)], dtype=torch.float64)
    least, most = scalar.slopes(points, points)
    low, high = scalar.range(points, points)
    for x, *ends in torch.stack([points, least.expand_as(points), most.expand_as(points), low, high]).T.tolist():
        for lower, upper in (ends[:2], ends[2:]):
            size = max(abs(lower), abs(upper))
            beyond = math.isinf(size) and min(abs(lower), abs(upper)) > 1e300
            assert beyond or upper - lower <= 1e-9 * size + absolute(name, x), f"{x}: {lower} {upper}"


PAGE = Path(__file__).parents[3] / "docs" / "decisions" / "0012-scalar-enclosures.md"


def allowances() -> dict[str, str]:
    """The last column of the page's table of formulas."""
    rows = [row.split("|")[1:-1] for row in PAGE.read_text().splitlines() if row.startswith("| `")]
    return {cells[0].strip(" `"): cells[-1].strip() for cells in rows if "." in cells[0]}


def test_the_page_lists_every_function() -> None:
    assert set(allowances()) == {name.partition("(")[0] for name in FUNCTIONS if not name.startswith("fused")}


@pytest.mark.parametrize("name", PLAIN)
def test_derivatives_at_single_points_are_as_tight_as_the_page_says(name: str) -> None:
    scalar, stated = entry(name).scalar, allowances()[name.partition("(")[0]]
    allowed = 0.0 if stated == "exact" else 2.0 ** int(stated.removeprefix("2^"))
    points = {side * 10.0 ** (e / 4) for e in range(-40, 12) for side in (-1, 1)}
    jumps = {float(knot.place.at) for knot in scalar.knots if knot.right is not None}
    start = getattr(scalar, "start", None)
    xs = [x for x in points - jumps if not (name.startswith("swishes") and abs(x + 1) < 0.5)]
    at = torch.tensor([x for x in xs if start is None or x > start], dtype=torch.float64)
    least, most = (end.expand_as(at) for end in scalar.slopes(at, at))
    size = torch.minimum(least.abs(), most.abs())
    counts = (size > 1e-280) & torch.isfinite(least) & torch.isfinite(most)
    assert bool((most - least <= allowed * size)[counts].all())


def derivative(name: str, x: float) -> float:
    return float(quotient(entry(name).exact, x - 2.0**-46 * (1 + abs(x)), x + 2.0**-46 * (1 + abs(x))))


def grid(name: str) -> list[float]:
    near = [at + side * 2.0**-e for at in special_points(entry(name).scalar) for side in (-1, 1) for e in (2, 8, 30)]
    start = getattr(entry(name).scalar, "start", None)
    return [x for x in sorted({*(k / 2 + 0.001 for k in range(-22, 23)), *near}) if start is None or x > start + 1e-10]


@pytest.mark.parametrize("name", [name for name in PLAIN if not name.startswith(STEEP)])
def test_slopes_of_the_whole_line_are_attained(name: str) -> None:
    whole = entry(name).scalar.slope()
    knots = special_points(entry(name).scalar)
    found = [derivative(name, x) for x in [*grid(name), -1e10, 1e10]]
    found += [derivative(name, at + side * 1e-12) for at in knots for side in (-1, 0, 1)]
    if "hyperbola(1e+300)" in name:
        found += [-1.0, 1.0]
    if "softplus(0.001)" in name or "celu(130000" in name:
        found += [0.0]
    assert whole.lower - 1e-9 <= min(found)
    assert max(found) <= whole.upper + 1e-9
    assert min(found) <= whole.lower + 1e-9
    assert max(found) >= whole.upper - 1e-9


@pytest.mark.parametrize("name", PLAIN)
def test_the_derivative_is_monotone_between_knots(name: str) -> None:
    scalar = entry(name).scalar
    knots = sorted(float(knot.place.at) for knot in scalar.knots)
    for low, high in itertools.pairwise([-math.inf, *knots, math.inf]):
        values = [derivative(name, x) for x in grid(name) if low + 1e-9 < x < high - 1e-9]
        steps = [(b - a) / (1 + abs(a)) for a, b in itertools.pairwise(values)]
        assert all(step >= -1e-12 for step in steps) or all(step <= 1e-12 for step in steps)


FOUND = {
    "CELU whose 1/alpha is no float32": ("exponentials.celu(0.3)", -0.2, -1e-6),
    "expm1 far below zero": ("exponentials.exponential(expm1)", -60.0, -45.0),
    "sigmoid far above zero": ("sigmoids.sigmoid", 40.0, 60.0),
    "sigmoid written out": ("fused.Fused(sigmoid)", 38.0, 60.0),
    "softsign far out": ("sigmoids.softsign", 1e9, 1e12),
    "tanh far out": ("sigmoids.tanh", 20.0, 25.0),
    "tanh below the least normal number": ("sigmoids.tanh", 1e-320, 2e-320),
    "softplus far below zero": ("sigmoids.softplus(1.0)", -745.0, -740.0),
    "log sigmoid far above zero": ("sigmoids.log_sigmoid", 40.0, 700.0),
    "GELU in its left tail": ("swishes.gelu", -30.0, -20.0),
    "tanh GELU in its left tail": ("swishes.tanh_gelu", -15.0, -10.0),
    "Mish in its left tail": ("swishes.mish", -700.0, -100.0),
    "Mish in its right tail": ("swishes.mish", 20.0, 30.0),
    "reciprocal far out": ("powers.reciprocal", 1e160, 1e170),
    "erf far out": ("sigmoids.erf", 26.0, 27.0),
    "ELU far below zero": ("exponentials.elu(1.5)", -745.0, -700.0),
}


@pytest.mark.parametrize("case", FOUND)
def test_slopes_where_digits_were_lost(case: str) -> None:
    name, low, high = FOUND[case]
    least, most = slopes(entry(name).scalar, low, high)
    for x, y in ((low, math.nextafter(low, high)), (low, high), (math.nextafter(high, low), high)):
        assert holds(least, quotient(entry(name).exact, x, y), most)


@pytest.mark.parametrize("name", ["sigmoids.sigmoid", "sigmoids.tanh", "sigmoids.erf", "swishes.silu", "swishes.gelu",
                                  "sigmoids.softsign", "sigmoids.atan", "exponentials.elu(1.5)"])  # fmt: skip
def test_a_slope_that_underflows_is_no_certified_zero(name: str) -> None:
    least, most = slopes(entry(name).scalar, -1e300, -1e299)
    assert max(abs(least), abs(most)) > 0.0


def test_a_knot_known_up_to_rounding_is_tested_with_an_interval() -> None:
    """min(x, b) for b = 1 + 1e-10 or more: on [1 - 1e-10, 1] it may already be flat."""
    scalar = rectifiers.clip(None, Place(1.0, 1e-10), lambda x: x.clamp(max=1.0))
    assert slopes(scalar, 1.0 - 1e-11, 1.0 - 1e-12) == (0.0, 1.0)
    assert slopes(scalar, 1.0 - 1e-9, 1.0 - 1e-8 + 5e-9) == (1.0, 1.0)
    low, high = scalar.range(*interval(2.0, 3.0))
    assert float(low) <= 1.0 - 1e-10
    assert float(high) >= 1.0 + 1e-10


def test_entries_have_slopes_of_their_own() -> None:
    weight = torch.tensor([0.1, -2.0, 5.0], dtype=torch.float64)
    network = network_of(lambda x: F.prelu(x, weight), (1, 3, 2))
    (node,) = [node for node in network.nodes if isinstance(node, Activation)]
    low, high = torch.full((6,), -2.0, dtype=torch.float64), torch.full((6,), -1.0, dtype=torch.float64)
    expected = weight.repeat_interleave(2)
    assert torch.equal(node.scalar.slopes(low, high)[0], expected)
    assert torch.equal(node.scalar.slopes(low, -low)[1], expected.clamp(min=1.0))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_unbounded_and_undefined_ends(name: str) -> None:
    """Infinite ends and NaN never give NaN, and never less than the whole line's slopes where all is open."""
    scalar, whole = entry(name).scalar, entry(name).scalar.slope()
    lower = torch.tensor([-math.inf, -math.inf, math.nan, 1.0, math.nan], dtype=torch.float64)
    upper = torch.tensor([math.inf, 1.0, 1.0, math.inf, math.nan], dtype=torch.float64)
    for least, most in (scalar.slopes(lower, upper), scalar.range(lower, upper)):
        assert not bool((torch.isnan(least) | torch.isnan(most)).any())
        assert bool((least <= most).all())
    least, most = (end.expand(5)[[0, 4]] for end in scalar.slopes(lower, upper))
    assert bool((least <= whole.lower).all())
    assert bool((most >= whole.upper).all())


def test_a_softplus_of_tiny_beta_is_enclosed() -> None:
    scalar = sigmoids.softplus(1e-300)
    low, high = scalar.range(*interval(-1.0, 1.0))
    assert float(low) <= float(mp.log(2)) * 1e300 <= float(high)
