"""Sampled values stay within the intervals of every node, for every rule and every kind of domain."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from app.lipschitz.domain import Ball, Box, Domain, WholeSpace
from app.lipschitz.network.nodes import Network, Node
from app.lipschitz.network.propagation import propagate
from tests.lipschitz.helpers import network_of
from tests.lipschitz.network.test_rules import AFFINE, NONLINEAR

IMAGE = (1, 2, 6, 5)
PRODUCTS = {
    "product": (lambda x: x * x.flip(-1), (2, 5)),
    "product that broadcasts": (lambda x: x[:, :1] * torch.tanh(x), (3, 5)),
    "square": (lambda x: x * x, (2, 5)),
    "quotient": (lambda x: x / (1 + torch.exp(x.flip(-1))), (2, 5)),
    "constant over dependent": (lambda x: 2 / (x.square() + 1), (2, 5)),
    "matrix product": (lambda x: x @ x.mT, (3, 4)),
    "batched matrix product": (lambda x: torch.bmm(x.mT, torch.sin(x)), (2, 3, 4)),
    "matrix times vector": (lambda x: x @ x.mean(0), (3, 4)),
    "matrix product with bias": (lambda x: torch.addmm(torch.ones(3, dtype=torch.float64), x, x.mT, alpha=0.3), (3, 4)),
    "power": (lambda x: torch.exp(x) ** torch.sigmoid(x), (2, 3)),
    "power of a constant": (lambda x: 0.3**x + 2.0**x, (2, 3)),
    "product over an axis": (lambda x: x.prod(1), (3, 4)),
    "tangent": (lambda x: torch.tan(0.4 * torch.tanh(x)), (2, 3)),
    "gated linear unit": (lambda x: F.glu(x, 1), (2, 6)),
    "norm of rows": (lambda x: torch.linalg.vector_norm(x, 2, 1), (3, 4)),
    "1-norm of rows": (lambda x: torch.linalg.vector_norm(x, 1, 1), (3, 4)),
    "largest of rows": (lambda x: torch.linalg.vector_norm(x, math.inf, 1), (3, 4)),
    "attention": (lambda x: F.scaled_dot_product_attention(x, x.flip(2), torch.sin(x)), (1, 2, 4, 3)),
    "attention in steps": (lambda x: torch.softmax(x @ x.mT / 2, -1) @ x, (1, 4, 3)),
    "wide layer norm": (lambda x: F.layer_norm(x, (4,), eps=1e-5), (3, 4)),
}  # fmt: skip
CASES = AFFINE | PRODUCTS | {name: (function, IMAGE) for name, function in NONLINEAR.items()}


def values(network: Network, points: Tensor) -> dict[Node, Tensor]:
    """Every node's value at `(B, n)` points."""
    found = {network.input: points}
    for node in network.nodes[1:]:
        found[node] = node.apply(*(found[source] for source in node.sources))
    return found


def domains(size: int, generator: torch.Generator) -> list[Domain]:
    center = torch.randn(size, dtype=torch.float64, generator=generator)
    spread = torch.rand(size, dtype=torch.float64, generator=generator)
    balls = [Ball(center, radius, p) for radius in (0.01, 1.0) for p in ("1", "2", "inf")]
    return [*balls, Box(center - spread, center + spread), Box(-spread, 0 * spread), WholeSpace()]


def points_of(domain: Domain, size: int, generator: torch.Generator) -> Tensor:
    inside = domain.sample(40, size, 1.0, generator)
    far = 100 * torch.randn(40, size, dtype=torch.float64, generator=generator)
    return torch.cat([inside, domain.project(far), domain.project(torch.sign(far) * 3)])


@pytest.mark.parametrize("name", CASES)
def test_values_stay_within_their_intervals(name: str) -> None:
    function, shape = CASES[name]
    network = network_of(function, shape)
    generator = torch.Generator().manual_seed(5)
    for domain in domains(network.input.size, generator):
        intervals = propagate(network, domain)
        for node, value in values(network, points_of(domain, network.input.size, generator)).items():
            lower, upper = intervals[node].lower, intervals[node].upper
            assert lower.shape == upper.shape == (node.size,)
            assert not bool(torch.isnan(lower).any() | torch.isnan(upper).any())
            rounding = 2.0**-48 * (1 + value.abs())  # the intervals hold the real values, these are computed
            assert bool(((lower <= value + rounding) & (value - rounding <= upper) | value.isnan()).all())


@pytest.mark.parametrize("name", AFFINE)
def test_affine_intervals_of_a_box_are_exact(name: str) -> None:
    function, shape = AFFINE[name]
    network = network_of(function, shape)
    size = network.input.size
    box = Box(torch.zeros(size, dtype=torch.float64), torch.ones(size, dtype=torch.float64))
    offset = network(torch.zeros(1, size, dtype=torch.float64))[0]
    matrix = (network(torch.eye(size, dtype=torch.float64)) - offset).T
    found = propagate(network, box)[network.output]
    scale = float(matrix.abs().sum(1).max() + offset.abs().max())
    for end, want in ((found.lower, matrix.clamp(max=0).sum(1)), (found.upper, matrix.clamp(min=0).sum(1))):
        assert torch.allclose(end, want + offset, rtol=0, atol=LOOSE.get(name, 1e-9) * scale)


LOOSE = {"sum of branches": 1.0, "difference of branches": 1.0}
"""Where magnitudes of summed or composed operators lie above the magnitudes of their sum or product."""


def test_a_ball_reaches_as_far_as_the_dual_norm_of_a_row() -> None:
    weight = torch.tensor([[3.0, 4.0], [1.0, -1.0]], dtype=torch.float64)
    network = network_of(lambda x: F.linear(x, weight), (1, 2))
    center = torch.zeros(2, dtype=torch.float64)
    for p, want in (("1", [4.0, 1.0]), ("2", [5.0, math.sqrt(2)]), ("inf", [7.0, 2.0])):
        found = propagate(network, Ball(center, 1.0, p))[network.output]
        assert found.upper.tolist() == pytest.approx(want, rel=1e-10)
        assert found.lower.tolist() == pytest.approx([-end for end in want], rel=1e-10)


def test_a_softmax_is_bounded_by_its_extreme_logits() -> None:
    network = network_of(lambda x: torch.softmax(x, 1), (1, 2))
    one = torch.ones(2, dtype=torch.float64)
    found = propagate(network, Box(-one, one))[network.output]
    assert found.upper.tolist() == pytest.approx([1 / (1 + math.exp(-2))] * 2, rel=1e-10)
    assert found.lower.tolist() == pytest.approx([1 / (1 + math.exp(2))] * 2, rel=1e-10)


def test_an_average_of_rows_lies_between_the_rows() -> None:
    network = network_of(lambda x: torch.softmax(10 * x @ x.mT, -1) @ x, (1, 4, 3))
    one = torch.ones(12, dtype=torch.float64)
    found = propagate(network, Box(0 * one, one))[network.output]
    assert float(found.upper.max()) == pytest.approx(1.0, rel=1e-10)
    assert float(found.lower.min()) == pytest.approx(0.0, abs=1e-10)
