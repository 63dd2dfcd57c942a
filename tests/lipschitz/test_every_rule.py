"""Every rule alone, on tiny, huge and degenerate boxes and the whole space, against differences in long arithmetic.

Long arithmetic (`digits`) counts its own errors; operators that it has no rule for are compared in float64, where that
neither overflows nor underflows.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from app.lipschitz.deadline import NEVER
from app.lipschitz.digits.evaluate import values_at
from app.lipschitz.digits.number import Unable, ends
from app.lipschitz.domain import Ball, Box, Domain, WholeSpace
from app.lipschitz.errors import LipschitzError
from app.lipschitz.lower.attained import attained
from app.lipschitz.network.build import build
from app.lipschitz.network.propagation import propagate
from app.lipschitz.network.rules import RULES
from app.lipschitz.network.rules.refused import JUMPS, UNBOUNDED
from app.lipschitz.operators.norm import Norm
from app.lipschitz.operators.norms import Norms
from app.lipschitz.problem import Problem
from app.lipschitz.walk.autolip import autolip
from tests.lipschitz.rule_examples import EXAMPLES, UNDRAWN, Example

NORMS: tuple[Norm, ...] = ("1", "2", "inf")
SCALES = (5e-324, 1e-310, 1e-300, 1e-200, 1e-160, 1e-80, 1e-8, 1.0, 1e8, 1e80, 1e160, 1e200, 1e300)
WIDTHS = (1e-12, 1e-3, 1.0, 2.5)
PLACES = 12
APART = (1.0, 2.0**-20)
"""Distances of a pair's points, relative to the domain's size."""
COMPARABLE = (1e-100, 1e100)
ROUNDING = 1e-9


def drawn_domains(seed: int, size: int) -> Iterator[Domain]:
    """One of each kind; entries of a centre have one sign or both, and one may not vary."""
    rng = random.Random(seed)
    for scale in SCALES:
        centre = torch.tensor(
            [rng.uniform(0.5, 2.0) * rng.choice((1, 1, -1)) for _ in range(size)], dtype=torch.float64
        )
        centre = (centre.abs() if rng.random() < 0.5 else centre) * scale
        radius = centre.abs() * rng.choice(WIDTHS)
        radius[rng.randrange(size)] *= rng.choice((0.0, 1.0))
        yield Box((centre - radius).clamp(-1e308, 1e308), (centre + radius).clamp(-1e308, 1e308))
        if rng.random() < 0.3:
            yield Ball(centre, float(radius.max()) or scale, rng.choice(NORMS))
    yield Box(-torch.ones(size, dtype=torch.float64), torch.ones(size, dtype=torch.float64))
    yield WholeSpace()


def drawn_pairs(domain: Domain, size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Far and near, all along a random direction or one axis."""
    generator = torch.Generator().manual_seed(seed)
    rng = random.Random(seed)
    for apart in APART:
        scale = rng.choice(SCALES[2:]) if isinstance(domain, WholeSpace) else 1.0
        x, y = domain.sample(2, size, scale, generator)
        if rng.random() < 0.5:
            axis = rng.randrange(size)
            y = torch.where(torch.arange(size) == axis, y, x)
        y = domain.project((x + apart * (y - x))[None])[0]
        if bool((x != y).any()) and bool(torch.isfinite(x).all() and torch.isfinite(y).all()):
            yield x, y


def check_pair(problem: Problem, bounds: dict[Norm, float], x: Tensor, y: Tensor) -> str | None:
    """What is wrong at two points: a slope above the bound, or a value outside its range."""
    for p, bound in bounds.items():
        asked = Problem(problem.captured, problem.network, p, problem.domain, 0, NEVER, lambda _: None)
        slope = attained(asked, x, y, NEVER).value or _in_float64(asked, x, y)
        if not bound >= slope:
            return f"{bound!r} in norm {p}, attained {slope!r} between {x.tolist()} and {y.tolist()}"
    return None


def check_range(problem: Problem, x: Tensor) -> str | None:
    """What is wrong with the output's interval at a point."""
    found = propagate(problem.network, problem.domain)[problem.network.output]
    try:
        low, high = ends(values_at(problem.captured, [0], (x,), PLACES, NEVER)[0])
    except Unable:
        return None
    if bool((low > found.upper).any() or (high < found.lower).any()):
        return f"{found.lower.tolist()} to {found.upper.tolist()}, but {low.tolist()} at {x.tolist()}"
    return None


def _in_float64(problem: Problem, x: Tensor, y: Tensor) -> float:
    """A slope that float64 can tell, less what it may be wrong by; 0 otherwise."""
    sizes = torch.stack([x, y]).abs()
    if not bool(((sizes > COMPARABLE[0]) & (sizes < COMPARABLE[1])).all()):
        return 0.0
    order = float(problem.p)
    value_x, value_y = problem.network(torch.stack([x, y]))
    apart = float(torch.linalg.vector_norm(x - y, order))
    lost = ROUNDING * float((value_x.abs() + value_y.abs()).sum())
    rise = float(torch.linalg.vector_norm(value_x - value_y, order)) - lost
    slope = rise / apart * (1.0 - ROUNDING) if apart else 0.0
    return slope if COMPARABLE[0] < slope < COMPARABLE[1] else 0.0


def bounds_on(problem: Problem) -> dict[Norm, float]:
    """AutoLip's, where it has one."""
    found: dict[Norm, float] = {}
    for p in NORMS:
        asked = Problem(problem.captured, problem.network, p, problem.domain, 0, NEVER, lambda _: None, norms=Norms())
        try:
            value = autolip(asked).value
        except LipschitzError:
            continue
        if value is not None:
            found[p] = value
    return found


def check_example(example: Example, seeds: range) -> list[str]:
    """All that is wrong with an operator's bounds; nothing for one that is refused."""
    captured = example.captured()
    try:
        network = build(captured, [0])
    except LipschitzError:
        return []
    wrong = []
    for seed in seeds:
        for number, domain in enumerate(drawn_domains(seed, network.input.size)):
            problem = Problem(captured, network, "2", domain, 0, NEVER, lambda _: None)
            bounds = bounds_on(problem)
            for x, y in drawn_pairs(domain, network.input.size, 100 * seed + number):
                wrong += [f"{example}: {one}" for one in (check_pair(problem, bounds, x, y),) if one]
                wrong += [f"{example}: {one}" for one in (check_range(problem, x),) if one]
    return wrong


def test_every_rule_has_an_example() -> None:
    assert {one.name for one in EXAMPLES} | UNDRAWN | {*JUMPS, *UNBOUNDED} >= set(RULES) - {"eq.Scalar", "ne.Scalar"}


@pytest.mark.parametrize("name", ["prod.default", "amax.default"])
def test_a_rule_is_right_at_any_scale(name: str) -> None:
    wrong = check_example(next(one for one in EXAMPLES if one.name == name), range(1))
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_no_rule_is_wrong_at_any_scale(example: Example) -> None:
    wrong = check_example(example, range(1))
    assert not wrong, "\n".join(wrong)
