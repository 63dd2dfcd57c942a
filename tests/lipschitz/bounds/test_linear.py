"""Ranges by linear bounds: nothing seen is outside, nothing wider than intervals, and theory's numbers come out."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from app.lipschitz.bounds.linear import ranges, ranges_with_choices
from app.lipschitz.bounds.lines import lines
from app.lipschitz.deadline import SPENT
from app.lipschitz.domain import Ball, Box, Domain, WholeSpace
from app.lipschitz.network.nodes import Activation, Affine, Network, Node
from app.lipschitz.network.propagation import propagate
from app.lipschitz.operators.norm import Norm
from tests.effort import sampled
from tests.lipschitz.helpers import network_of
from tests.lipschitz.network.test_intervals import CASES, domains, points_of, values
from tests.lipschitz.random_graphs import random_program

NORMS: tuple[Norm, ...] = ("1", "2", "inf")
DUAL = {"1": torch.inf, "2": 2.0, "inf": 1.0}


def check(network: Network, domain: Domain, points: Tensor) -> None:
    """Every node's values lie in its range, which is no wider than its interval."""
    found, plain = ranges(network, domain), propagate(network, domain)
    for node, value in values(network, points).items():
        lower, upper = found[node].lower, found[node].upper
        rounding = 2.0**-48 * (1 + value.abs())  # the ranges hold the real values, these are computed
        assert bool(((lower <= value + rounding) & (value - rounding <= upper) | value.isnan()).all())
        assert bool(((plain[node].lower <= lower) & (upper <= plain[node].upper)).all())


@pytest.mark.parametrize("name", sampled(CASES, every=3))
def test_values_stay_within_their_ranges(name: str) -> None:
    function, shape = CASES[name]
    network = network_of(function, shape)
    generator = torch.Generator().manual_seed(5)
    for domain in domains(network.input.size, generator):
        check(network, domain, points_of(domain, network.input.size, generator))


def check_seed(seed: int) -> None:
    program = random_program(seed, steep=0.15)
    network, generator = network_of(program, *program.shapes), torch.Generator().manual_seed(seed)
    for domain in domains(network.input.size, generator)[seed % 2 :: 2]:
        if not isinstance(domain, WholeSpace):
            check(network, domain, points_of(domain, network.input.size, generator))


@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(6, 400))])
def test_values_of_random_graphs_stay_within_their_ranges(seed: int) -> None:
    check_seed(seed)


def perceptron(*widths: int, activation: Callable[[], nn.Module] = nn.ReLU, seed: int = 1) -> nn.Module:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for i, o in pairwise(widths):
        layers += [nn.Linear(i, o), activation()]
    return nn.Sequential(*layers[:-1])


def before_activations(network: Network) -> list[Node]:
    return [node.source for node in network.nodes if isinstance(node, Activation)]


@pytest.mark.parametrize("p", NORMS)
def test_settled_neurons_have_the_range_of_the_linear_map(p: Norm) -> None:
    """With all neurons of a layer on, the next layer's range on a ball is its radius times the dual norm of W2 W1."""
    first, second = nn.Linear(6, 8), nn.Linear(8, 4)
    nn.init.constant_(first.bias, 50.0)
    network = network_of(nn.Sequential(first, nn.ReLU(), second, nn.Tanh()), (1, 6))
    centre = torch.linspace(-1, 1, 6, dtype=torch.float64)
    found = ranges(network, Ball(centre, 0.5, p))[before_activations(network)[1]]
    reach = 0.5 * torch.linalg.vector_norm((second.weight @ first.weight).double(), DUAL[p], dim=1)
    assert torch.allclose((found.upper - found.lower) / 2, reach.detach(), rtol=1e-10)
    assert bool(((found.upper - found.lower) / 2 >= reach * (1 - 1e-14)).all())


def test_what_cancels_is_narrow() -> None:
    """A residual branch that takes its input back leaves what a convolution of both makes of it."""
    flip = nn.Conv2d(2, 2, 3, padding=1).double()

    def function(x: Tensor) -> Tensor:
        y = flip(x)
        return torch.relu(torch.relu(y + 40) - torch.relu(flip(x) + 39) - x * 0.25)

    network = network_of(function, (1, 2, 5, 5))
    found = ranges(network, Box(-torch.ones(50, dtype=torch.float64), torch.ones(50, dtype=torch.float64)))
    last = found[before_activations(network)[-1]]
    assert torch.allclose(last.upper, torch.full((50,), 1.25, dtype=torch.float64), rtol=1e-9)
    assert torch.allclose(last.lower, torch.full((50,), 0.75, dtype=torch.float64), rtol=1e-9)


def test_a_pooling_window_with_a_certain_winner_is_that_entry() -> None:
    def function(x: Tensor) -> Tensor:
        raised = x + torch.tensor([10.0, 0.0, 0.0, 0.0], dtype=torch.float64)
        largest = nn.functional.max_pool1d(raised.reshape(1, 1, 4), 2).reshape(1, 2)
        return torch.tanh(largest - x[:, :3:2])

    network = network_of(function, (1, 4))
    found = ranges(network, Ball(torch.zeros(4, dtype=torch.float64), 1.0, "inf"))
    last = found[before_activations(network)[-1]]
    assert [last.lower[0], last.upper[0]] == pytest.approx([10.0, 10.0])
    assert last.upper[1] - last.lower[1] > 1.0


def test_without_time_the_intervals_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no line is drawn: on a large network lines alone would take seconds."""
    monkeypatch.setattr("app.lipschitz.bounds.linear.lines", None)
    network = network_of(perceptron(4, 20, 20, 3), (1, 4))
    domain = Ball(torch.zeros(4, dtype=torch.float64), 0.5, "2")
    found, plain = ranges(network, domain, SPENT), propagate(network, domain)
    assert all(torch.equal(found[node].lower, plain[node].lower) for node in network.nodes)


@pytest.mark.parametrize("p", NORMS)
def test_linear_bounds_settle_what_intervals_leave_open(p: Norm) -> None:
    network = network_of(perceptron(10, 40, 40, 40, 40, 3), (1, 10))
    domain = Ball(torch.full((10,), 0.4, dtype=torch.float64), 0.2 if p == "1" else 0.05, p)
    found, plain = ranges(network, domain), propagate(network, domain)
    still, before = (
        sum(int(((known[node].lower < 0) & (known[node].upper > 0)).sum()) for node in before_activations(network))
        for known in (found, plain)
    )
    assert still < 0.6 * before


@pytest.mark.parametrize("p", NORMS)
def test_chosen_lines_are_closer_than_plain_ones(p: Norm, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line a neuron for all that reads it leaves more open than lines of their own."""
    network = network_of(perceptron(10, 30, 30, 30, 3), (1, 10))
    radius = {"1": 2.0, "2": 1.0, "inf": 0.4}[p]
    domain = Ball(torch.full((10,), 0.4, dtype=torch.float64), radius, p)
    found = ranges(network, domain)
    monkeypatch.setattr("app.lipschitz.bounds.linear.STEPS", 0)
    plain = ranges(network, domain)
    width, before = (
        [float((known[node].upper - known[node].lower).mean()) for node in before_activations(network)]
        for known in (found, plain)
    )
    assert all(one <= other * (1 + 1e-12) for one, other in zip(width, before, strict=True))
    assert width[-1] < 0.9 * before[-1]


@pytest.mark.parametrize("activation", [nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.GELU, nn.Hardtanh])
def test_a_chosen_line_is_what_any_arithmetic_makes_of_its_slopes(activation: Callable[[], nn.Module]) -> None:
    """Ends that were kept with their slopes follow from these alone, layer after layer in dense matrices."""
    module = perceptron(5, 12, 12, 2, activation=activation, seed=7).double()
    network, radius = network_of(module, (1, 5)), 2.0
    centre = torch.linspace(-1, 1, 5, dtype=torch.float64)
    found, choices = ranges_with_choices(network, Ball(centre, radius, "2"))
    first, second = (layer for layer in module if isinstance(layer, nn.Linear) and layer.out_features == 12)
    node = before_activations(network)[1]
    choice = choices[node]
    ((own, (neurons, slopes)),) = choice.slopes.items()
    around = found[own.source]
    plain = lines(own.scalar, around.lower, around.upper)
    x = torch.stack([around.lower + (around.upper - around.lower) * t for t in torch.linspace(0, 1, 4001).double()])
    values = own.scalar.function(x)
    count = len(choice.positions)
    for row, entry in enumerate([*choice.positions.tolist(), *choice.positions.tolist()]):
        sign = 1.0 if row < count else -1.0
        a = sign * second.weight[entry].detach()
        slope = torch.where(a > 0, plain.lower[0], plain.upper[0])
        slope[neurons] = slopes[row]
        rest = values - slope * x
        offset = torch.where(a > 0, rest.amin(0), rest.amax(0))
        moved = (a * slope) @ first.weight.detach()
        bias = (a * slope) @ first.bias.detach() + a @ offset + sign * second.bias[entry].detach()
        least = float(moved @ centre + bias - radius * moved.norm())
        end = float(found[node].lower[entry] if row < count else -found[node].upper[entry])
        assert end <= least + 1e-9
        assert end >= least - 0.05 * float(around.upper.sub(around.lower).max())


def exact_values(layers: list[tuple[list[list[float]], list[float]]], x: list[Fraction]) -> list[list[Fraction]]:
    """Pre-activations of a ReLU network in rational numbers."""
    found = []
    for weights, bias in layers:
        z = [
            sum((Fraction(w) * v for w, v in zip(row, x, strict=True)), Fraction(b))
            for row, b in zip(weights, bias, strict=True)
        ]
        found.append(z)
        x = [max(v, Fraction(0)) for v in z]
    return found


def stressed(seed: int) -> None:
    """Weights of all sizes, far centres, tiny radii: what rounding loses is more than the domain's width."""
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    widths = [4, 7, 7, 3]
    module = perceptron(*widths, seed=seed).double()
    sizes = [10.0 ** rng.uniform(-6, 6) for _ in widths]
    linear = [layer for layer in module if isinstance(layer, nn.Linear)]
    for layer, size in zip(linear, sizes, strict=False):
        spread = 10.0 ** torch.empty(layer.weight.shape).uniform_(-3, 3, generator=generator).double()
        layer.weight.data *= size * spread
        layer.bias.data *= size * 10.0 ** rng.uniform(-4, 8)
    network = network_of(module, (1, 4))
    centre = 1e4 * torch.randn(4, dtype=torch.float64, generator=generator)
    radius = 10.0 ** rng.uniform(-14, -9)
    layers = [(layer.weight.tolist(), layer.bias.tolist()) for layer in linear]
    for p in NORMS:
        found = ranges(network, Ball(centre, radius, p))
        points = [[Fraction(c) for c in centre.tolist()]]
        for coordinate in range(4):
            points += [
                [c + sign * Fraction(radius) * (i == coordinate) for i, c in enumerate(points[0])] for sign in (-1, 1)
            ]
        nodes = [*before_activations(network), network.output]
        for x in points:
            for node, exact in zip(nodes, exact_values(layers, x), strict=True):
                ends = zip(found[node].lower.tolist(), exact, found[node].upper.tolist(), strict=True)
                assert all(Fraction(low) <= z <= Fraction(high) for low, z, high in ends), f"seed {seed}, p = {p}"


@pytest.mark.parametrize("seed", [*range(8), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(8, 300))])
def test_rounding_is_counted(seed: int) -> None:
    stressed(seed)


def test_no_linear_bound_is_no_finite_bound() -> None:
    """A functional that meets an unbounded value is bounded by minus infinity, not by the largest double."""
    reciprocal = network_of(lambda x: torch.tanh(2.0 * (1.0 / x)), (1, 2))
    ends = Box(torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64))
    known = ranges(reciprocal, ends)
    doubled = next(node for node in reciprocal.nodes if isinstance(node, Affine))
    assert bool(torch.isinf(known[doubled].upper).all())
