"""Local constants: above every Jacobian on the domain, below the global ones, exact where theory gives the number."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from app.contract.options import GradientOptions
from app.lipschitz.artifact.captured import Captured
from app.lipschitz.bounds.local import Local
from app.lipschitz.deadline import NEVER, Deadline
from app.lipschitz.domain import Ball, Box, Domain
from app.lipschitz.errors import NotGloballyLipschitz
from app.lipschitz.layers import layer_table
from app.lipschitz.lower.gradient import gradient
from app.lipschitz.methods import IMPLEMENTATIONS
from app.lipschitz.network.build import build
from app.lipschitz.network.nodes import Network
from app.lipschitz.operators.norm import norm
from app.lipschitz.problem import Problem
from app.lipschitz.walk.autolip import autolip
from app.lipschitz.walk.walk import Step, walk
from tests.effort import examples, sampled
from tests.lipschitz.helpers import autolip_of, captured, jacobian_norms, network_of
from tests.lipschitz.network.test_intervals import CASES, domains

NORMS = ("1", "2", "inf")


def steps_of(network: Network, p: Any, domain: Domain) -> list[Step]:
    return walk(network, p, lambda operator: norm(operator, p).upper, Local(network, domain))


def local_of(network: Network, p: Any, domain: Domain) -> float:
    return steps_of(network, p, domain)[-1].cumulative


def box(*ends: tuple[float, float]) -> Box:
    lower, upper = torch.tensor(ends, dtype=torch.float64).T
    return Box(lower, upper)


def cube(size: int, radius: float, center: float = 0.3) -> Box:
    middle = torch.full((size,), center, dtype=torch.float64)
    return Box(middle - radius, middle + radius)


PAIR = torch.tensor([2.0, 5.0], dtype=torch.float64)
EXACT = {
    "product": (lambda x: x[:, :1] * x[:, 1:], [(-1, 2), (0, 3)], {"1": 3.0, "2": math.hypot(2, 3), "inf": 5.0}),
    "square": (lambda x: x * x, [(-1, 3)], dict.fromkeys(NORMS, 6.0)),
    "third power": (lambda x: x**3, [(-1, 2)], dict.fromkeys(NORMS, 12.0)),
    "reciprocal": (lambda x: 1 / x, [(1, 2)], dict.fromkeys(NORMS, 1.0)),
    "reciprocal of negative numbers": (lambda x: 3 / x, [(-4, -2)], dict.fromkeys(NORMS, 0.75)),
    "root": (torch.sqrt, [(4, 9)], dict.fromkeys(NORMS, 0.25)),
    "logarithm": (torch.log, [(0.5, 9)], dict.fromkeys(NORMS, 2.0)),
    "exponential": (torch.exp, [(-1, 1)], dict.fromkeys(NORMS, math.e)),
    "power of two": (lambda x: 2**x, [(-1, 1)], dict.fromkeys(NORMS, 2 * math.log(2))),
    "tangent": (torch.tan, [(-0.5, 1)], dict.fromkeys(NORMS, 1 + math.tan(1) ** 2)),
    "dead neurons": (lambda x: torch.relu(x * PAIR), [(-1, 1), (-2, -1)],
                     dict.fromkeys(NORMS, 2.0)),
    "far out on a sigmoid": (lambda x: torch.sigmoid(x), [(2, 3)],
                             dict.fromkeys(NORMS, 1 / (2 + 2 * math.cosh(2)))),
    "norm": (lambda x: torch.linalg.vector_norm(x, 2, 1), [(-1, 1)] * 4, {"1": 1.0, "2": 1.0, "inf": 2.0}),
    "two tokens": (lambda x: torch.softmax(x, 1), [(0, 0), (2, 3)],
                   dict.fromkeys(NORMS, 2 * math.exp(2) / (1 + math.exp(2)) ** 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("p", NORMS)
def test_the_constant_on_an_interval(name: str, p: str) -> None:
    function, ends, want = EXACT[name]
    network = network_of(function, (1, len(ends)))
    assert local_of(network, p, box(*ends)) == pytest.approx(want[p], rel=1e-9)
    assert local_of(network, p, box(*ends)) >= want[p] * (1 - 1e-12)


@pytest.mark.parametrize(("name", "p"), sampled(CASES, NORMS, every=8))
def test_no_jacobian_on_the_domain_is_larger(name: str, p: Any) -> None:
    function, shape = CASES[name]
    network = network_of(function, shape)
    size, generator = network.input.size, torch.Generator().manual_seed(3)
    chosen = [domain for domain in domains(size, generator)[:8] if not isinstance(domain, Ball) or domain.p == p]
    for domain in chosen:
        points = domain.sample(2, size, 1.0, generator)
        try:
            bound = local_of(network, p, domain)
        except NotGloballyLipschitz:
            continue
        assert float(jacobian_norms(network, p, points).nan_to_num().max()) <= bound * (1 + 1e-9) + 1e-300


FINITE = [name for name in CASES if name not in ("quotient", "power", "tangent")]


@pytest.mark.parametrize("name", FINITE)
def test_every_rule_has_a_constant_on_a_small_box(name: str) -> None:
    function, shape = CASES[name]
    network = network_of(function, shape)
    assert math.isfinite(local_of(network, "2", cube(network.input.size, 0.01)))


@pytest.mark.parametrize(("name", "p"), sampled([name for name in CASES if "log" not in name], NORMS, every=5))
def test_a_domain_never_raises_the_constant(name: str, p: Any) -> None:
    function, shape = CASES[name]
    network = network_of(function, shape)
    try:
        whole = autolip_of(network, p)
    except NotGloballyLipschitz:
        whole = math.inf
    wider = whole
    for radius in (1.0, 0.1, 0.01):
        narrower = local_of(network, p, cube(network.input.size, radius)) if math.isfinite(wider) else 0.0
        assert narrower <= wider * (1 + 1e-9)
        wider = narrower if math.isfinite(whole) else wider


def perceptron(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 3))


@pytest.mark.parametrize("p", NORMS)
def test_a_perceptron_is_flatter_on_smaller_boxes(p: Any) -> None:
    network = network_of(perceptron(1), (1, 6))
    bounds = [local_of(network, p, cube(6, radius)) for radius in (0.01, 0.1, 1.0)]
    assert bounds == sorted(bounds)
    assert bounds[0] < 0.85 * autolip_of(network, p)
    attained = float(jacobian_norms(network, p, cube(6, 0.01).sample(20, 6, 1.0, torch.Generator())).max())
    assert attained <= bounds[0]


class Block(nn.Module):
    """One pre-norm transformer block without dropout, two heads."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.rise, self.fall = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        b, n, d = x.shape
        query, key, value = (
            part.reshape(b, n, 2, d // 2).transpose(1, 2) for part in self.mix(self.first(x)).chunk(3, -1)
        )
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(b, n, d)
        x = x + self.out(mixed)
        return x + self.fall(F.gelu(self.rise(self.second(x))))


@pytest.mark.parametrize("p", sampled(NORMS, every=3))
def test_a_transformer_block_on_a_ball(p: Any) -> None:
    network = network_of(Block(), (1, 4, 8))
    generator = torch.Generator().manual_seed(2)
    center = torch.randn(32, dtype=torch.float64, generator=generator)
    bounds = []
    for radius in (0.01, 0.1, 1.0):
        ball = Ball(center, radius, p)
        bounds.append(local_of(network, p, ball))
        assert float(jacobian_norms(network, p, ball.sample(8, 32, 1.0, generator)).max()) <= bounds[-1]
    assert bounds == sorted(bounds)
    assert bounds[-1] <= autolip_of(network, p)  # finite, because layer norm bounds what attention reads


def problem_of(graph: Captured, network: Network, domain: Domain) -> Problem:
    return Problem(graph, network, "2", domain, 0, NEVER, lambda _: None)


@pytest.mark.parametrize("radius", [0.01, 0.1, 1.0])
def test_attacks_within_the_domain_stay_below_and_rows_agree(radius: float) -> None:
    def function(x: Tensor) -> Tensor:
        return torch.sigmoid(x[:, :4]) * x[:, 4:] / (1 + x[:, :4] ** 2) + torch.relu(x[:, :4] - 0.3)

    graph = captured(function, (1, 8))
    network = network_of(function, (1, 8))
    problem = problem_of(graph, network, cube(8, radius))
    upper = IMPLEMENTATIONS["autolip"](problem, {}).value
    options = GradientOptions(restarts=4, steps=10, seconds=5.0, scouts=0)
    lower = IMPLEMENTATIONS["gradient"](problem, options).value
    assert upper is not None
    assert lower is not None
    assert 0 < lower <= upper
    rows = layer_table(problem)
    assert rows[-1].cumulative == upper
    assert all(row.slope is None or row.slope[0] <= row.slope[1] for row in rows)


def test_rows_show_the_slopes_of_the_domain() -> None:
    graph = captured(torch.sigmoid, (1, 2))
    problem = problem_of(graph, network_of(torch.sigmoid, (1, 2)), box((2, 3), (4, 5)))
    (row,) = layer_table(problem)
    sigmoid = [1 / (1 + math.exp(-x)) for x in (5, 2)]
    assert row.slope == pytest.approx([s * (1 - s) for s in sigmoid])


def test_lower_bounds_need_no_constant() -> None:
    graph = captured(torch.square, (1, 2))
    problem = problem_of(graph, network_of(torch.square, (1, 2)), Local(network_of(torch.square, (1, 2))).domain)
    assert layer_table(problem) == []
    with pytest.raises(NotGloballyLipschitz, match="whole space"):
        IMPLEMENTATIONS["autolip"](problem, {})


def test_bounded_factors_have_a_constant_on_the_whole_space() -> None:
    network = network_of(lambda x: torch.sigmoid(x) * torch.tanh(x.flip(1)), (1, 3))
    assert autolip_of(network, "2") == pytest.approx(1.25)


def test_a_pole_in_the_domain_is_refused_with_the_range() -> None:
    network = network_of(lambda x: 1 / x, (1, 2))
    with pytest.raises(NotGloballyLipschitz, match="between -1 and 1"):
        local_of(network, "2", box((-1, 1), (0.5, 1)))


ONES = torch.ones(4, 1, dtype=torch.float64)
UNARY = (torch.sin, torch.tanh, torch.relu, torch.sigmoid, torch.square, lambda x: x.flip(1), lambda x: 1.5 * x - 0.2,
         lambda x: torch.softmax(x, 1), lambda x: 1 / (2 + torch.cos(x)), lambda x: F.layer_norm(x, (4,), eps=0.1),
         torch.exp)  # fmt: skip
BINARY = (torch.mul, torch.add, torch.sub, torch.maximum, lambda x, y: (x.mT @ y) @ ONES)


@st.composite
def graphs(draw: st.DrawFn) -> Any:
    """A function of `(1, 4)`: a few steps, each reading values before it."""
    steps = []
    for position in range(draw(st.integers(1, 6))):
        reads = (draw(st.integers(0, position)), draw(st.integers(0, position)))
        steps.append((draw(st.sampled_from(range(len(UNARY) + len(BINARY)))), reads))

    def function(x: Tensor) -> Tensor:
        found = [x]
        for kind, (a, b) in steps:
            one = UNARY[kind](found[a]) if kind < len(UNARY) else BINARY[kind - len(UNARY)](found[a], found[b])
            found.append(one.reshape(1, 4))
        return found[-1] + 0.5 * x

    return function


@examples(60)
@given(graphs(), st.sampled_from(NORMS), st.sampled_from([0.01, 0.3, 1.0]), st.integers(0, 9))
def test_random_graphs_with_products(function: Any, p: Any, radius: float, seed: int) -> None:
    graph = captured(function, (1, 4))
    generator = torch.Generator().manual_seed(seed)
    network = build(graph, [0])
    center = torch.randn(4, dtype=torch.float64, generator=generator)
    domain: Domain = Ball(center, radius, p) if seed % 2 else Box(center - radius, center + radius)
    points = domain.sample(12, 4, 1.0, generator)
    try:
        steps = steps_of(network, p, domain)
    except NotGloballyLipschitz:
        return
    attained = float(jacobian_norms(network, p, points).max())
    assert attained <= steps[-1].cumulative * (1 + 1e-9)


def test_corners_of_a_bilinear_form() -> None:
    """The constant of x^T A y on a box is attained at a corner; the walk stays within a small factor of it."""
    torch.manual_seed(4)
    matrix = torch.randn(3, 3, dtype=torch.float64)
    network = network_of(lambda x: (x[:, :3] @ matrix * x[:, 3:]).sum(), (1, 6))
    corners = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=6)), dtype=torch.float64)
    truth = float(jacobian_norms(network, "2", corners).max())
    assert truth <= local_of(network, "2", cube(6, 1.0, 0.0)) <= 4 * truth


@pytest.mark.parametrize(("tokens", "width", "radius"), [(4, 8, 1.0), (16, 8, 1.0), (16, 16, 0.5)])
def test_attention_stays_near_the_closed_form(tokens: int, width: int, radius: float) -> None:
    """On a 2-ball: below Castin et al. 2024, near ||V|| (sqrt n + ||A|| R^2 (1 + sqrt n)), above an attack."""
    generator = torch.Generator().manual_seed(tokens)
    query, key, value = (
        torch.randn(width, width, dtype=torch.float64, generator=generator) / width**0.5 for _ in "qkv"
    )

    def attention(x: Tensor) -> Tensor:
        return torch.softmax((x @ query) @ (x @ key).mT / math.sqrt(width), -1) @ (x @ value)

    ball = Ball(torch.zeros(tokens * width, dtype=torch.float64), radius, "2")
    graph = captured(attention, (1, tokens, width))
    problem = Problem(graph, build(graph, [0]), "2", ball, 0, Deadline.after(60), lambda _: None)
    upper = autolip(problem, {}).value
    lower = gradient(problem, GradientOptions(restarts=4, steps=20, seconds=10.0, scouts=0)).value
    mixing = float(torch.linalg.matrix_norm(query @ key.mT / math.sqrt(width), 2))
    head = float(torch.linalg.matrix_norm(value, 2))
    castin = math.sqrt(3) * head * math.sqrt(mixing**2 * radius**4 * (4 * tokens + 1) + tokens)
    assert upper is not None
    assert lower is not None
    assert lower <= upper <= castin
    assert upper <= 1.5 * head * (math.sqrt(tokens) + mixing * radius**2 * (1 + math.sqrt(tokens)))
