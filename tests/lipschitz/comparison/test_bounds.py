"""Certified differences of random pairs: nothing that is attained lies above them."""

import random

import pytest
import torch
from torch import nn

from app.lipschitz.comparison import witness
from app.lipschitz.comparison.bounds import at_point, bound, least_size, size
from app.lipschitz.comparison.contributions import contributions
from app.lipschitz.comparison.difference import Difference, differ
from app.lipschitz.comparison.join import join
from app.lipschitz.comparison.witness import search
from app.lipschitz.deadline import NEVER
from app.lipschitz.domain import Ball, Box, Domain, WholeSpace
from app.lipschitz.network.intervals import enclose
from app.lipschitz.network.nodes import Change
from app.lipschitz.network.propagation import propagate
from app.lipschitz.operators.norm import Norm
from app.lipschitz.operators.norms import Norms
from tests.lipschitz.comparison.pairs import random_pair
from tests.lipschitz.helpers import captured

NORMS: tuple[Norm, ...] = ("1", "2", "inf")


def difference_of(first: nn.Module, second: nn.Module, *shapes: tuple[int, ...]) -> Difference:
    joint = join(captured(first, *shapes), captured(second, *shapes))
    return differ(joint, NEVER, WholeSpace(), 0)


def domain_of(seed: int, entries: int) -> Domain:
    draw = random.Random(seed)
    centre = torch.randn(entries, dtype=torch.float64)
    reach = 10.0 ** draw.uniform(-3, 0.5)
    if draw.random() < 0.5:
        return Box(centre - reach, centre + reach)
    return Ball(centre, reach, draw.choice(NORMS))


def check_pair(seed: int) -> None:
    pair = random_pair(seed)
    difference = difference_of(pair.first, pair.second, pair.shape)
    domain, p = domain_of(seed, difference.carried.input.size), NORMS[seed % 3]
    known = bound(difference, domain, p, NEVER)
    least = min(known.bounds.values())
    found = search(difference, domain, p, seed=seed, deadline=NEVER)
    assert found is not None
    assert found.value <= least
    points = domain.sample(200, difference.carried.input.size, 1.0, torch.Generator().manual_seed(seed))
    attained = torch.linalg.vector_norm(difference.plain(points), float(p), dim=1)
    outputs = difference.first(points).abs().amax(1) + difference.second(points).abs().amax(1)
    assert bool((attained <= least + 1e-13 * outputs).all())
    for node, value in values_of(difference, points).items():
        ends, slack = known.ranges[node], 1e-12 * (1.0 + value.abs().amax(0))
        assert bool((value >= ends.lower - slack).all())
        assert bool((value <= ends.upper + slack).all())


def values_of(difference: Difference, points: torch.Tensor) -> dict:
    values = {difference.carried.input: points}
    for node in difference.carried.nodes[1:]:
        values[node] = node.apply(*(values[source] for source in node.sources))
    return values


@pytest.mark.parametrize("seed", range(15))
def test_nothing_attained_lies_above_the_bound(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witness, "STEPS", 12)
    check_pair(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(15, 530))
def test_nothing_attained_lies_above_the_bound_often(seed: int) -> None:
    check_pair(seed)


def test_carried_differences_are_tighter_than_both_apart() -> None:
    torch.manual_seed(0)
    first = nn.Sequential(nn.Linear(8, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 4))
    second = nn.Sequential(nn.Linear(8, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 4))
    second.load_state_dict({name: w + 1e-4 * torch.randn_like(w) for name, w in first.state_dict().items()})
    known = bound(difference_of(first, second, (1, 8)), Box(-torch.ones(8), torch.ones(8)), "2", NEVER)
    assert known.bounds["linear"] < known.bounds["intervals"] < known.bounds["apart"] / 100
    assert known.bounds["together"] <= min(known.bounds["linear"], known.bounds["apart"])


@pytest.mark.parametrize(("first_width", "second_width"), [(5, 9), (7, 7)])
def test_layers_that_do_not_correspond_are_bounded_apart(first_width: int, second_width: int) -> None:
    torch.manual_seed(1)
    first = nn.Sequential(nn.Linear(4, first_width), nn.ReLU(), nn.Linear(first_width, 2))
    second = nn.Sequential(nn.Linear(4, second_width), nn.Tanh(), nn.Linear(second_width, 2))
    difference = difference_of(first, second, (1, 4))
    assert not any(isinstance(node, Change) for node in difference.carried.nodes)
    domain = Box(-torch.ones(4, dtype=torch.float64), torch.ones(4, dtype=torch.float64))
    found = search(difference, domain, "2", seed=0, deadline=NEVER)
    assert found is not None
    assert 0 < found.value <= min(bound(difference, domain, "2", NEVER).bounds.values()) < 10


def test_functions_with_other_settings_are_no_twins() -> None:
    """A slope of 0.1 against one of 0.2: taken for one function, the difference would come out as zero."""
    linear = nn.Linear(3, 3)
    first = nn.Sequential(linear, nn.LeakyReLU(0.1))
    second = nn.Sequential(linear, nn.LeakyReLU(0.2))
    difference = difference_of(first, second, (1, 3))
    point = -10.0 * torch.linalg.solve(linear.weight.double(), torch.ones(3, dtype=torch.float64)).detach()
    assert least_size(at_point(difference, point), "inf") > 0.5


def test_diagonals_that_differ_below_rounding_do_differ() -> None:
    """(1 + 2^-30)(1 - 2^-30) is folded to 1: the difference to 1 is 2^-60 there, and not zero."""
    near = torch.tensor([2.0**-30, 0.0, -(2.0**-30)], dtype=torch.float64)
    halves = torch.tensor([0.5, 2.0, 0.25], dtype=torch.float64)

    class Scaled(nn.Module):
        def __init__(self, first: torch.Tensor, second: torch.Tensor) -> None:
            super().__init__()
            self.first, self.second = first, second

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x * self.first * self.second)

    difference = difference_of(Scaled(1.0 + near, 1.0 - near), Scaled(halves, 1.0 / halves), (1, 3))
    domain = Box(*(sign * torch.ones(3, dtype=torch.float64) for sign in (-1.0, 1.0)))
    assert 2.0**-60 <= min(bound(difference, domain, "inf", NEVER).bounds.values()) < 1e-14


def test_a_shared_beginning_is_one() -> None:
    torch.manual_seed(2)
    head, first, second = nn.Linear(4, 6), nn.Linear(6, 2), nn.Linear(6, 2)
    difference = difference_of(nn.Sequential(head, nn.ReLU(), first), nn.Sequential(head, nn.ReLU(), second), (1, 4))
    shared = set(difference.first.nodes) & set(difference.second.nodes)
    assert len(shared) == 3
    assert len(difference.layers) == 1


def test_contributions_add_up_to_no_less_than_what_is_attained() -> None:
    pair = random_pair(5)
    difference = difference_of(pair.first, pair.second, pair.shape)
    entries = difference.carried.input.size
    domain = Box(-torch.ones(entries, dtype=torch.float64), torch.ones(entries, dtype=torch.float64))
    known = bound(difference, domain, "2", NEVER)
    parts = contributions(difference, known.ranges, "2", Norms(), NEVER)
    found = search(difference, domain, "2", seed=0, deadline=NEVER)
    assert found is not None
    assert len(parts) > 1
    assert found.value <= sum(part.contribution for part in parts)


@pytest.mark.parametrize("p", NORMS)
def test_sizes_enclose_every_norm(p: Norm) -> None:
    pair = random_pair(7)
    difference = difference_of(pair.first, pair.second, pair.shape)
    x = torch.randn(difference.carried.input.size, dtype=torch.float64)
    there = at_point(difference, x)
    norm = float(torch.linalg.vector_norm(difference.plain(x[None])[0], float(p)))
    assert least_size(there, p) <= norm * (1 + 1e-9) + 1e-15
    assert norm <= size(there, p) * (1 + 1e-9) + 1e-15


def test_an_unknown_kind_of_change_is_as_wide_as_both_values() -> None:
    """Softmax moves by no more than its constant times the change."""
    torch.manual_seed(3)
    first = nn.Sequential(nn.Linear(3, 4), nn.Softmax(-1))
    second = nn.Sequential(nn.Linear(3, 4), nn.Softmax(-1))
    second.load_state_dict({name: w + 1e-6 for name, w in first.state_dict().items()})
    difference = difference_of(first, second, (1, 3))
    ranges = propagate(difference.carried, Box(-torch.ones(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)))
    (change,) = [node for node in difference.carried.nodes if isinstance(node, Change)]
    assert float(enclose(change, *(ranges[source] for source in change.sources)).magnitude.max()) < 2e-5
