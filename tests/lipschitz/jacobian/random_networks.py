"""Random networks of every kind of node, and random domains for them; one seed gives one of each."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from app.contract.options import JacobianOptions
from app.lipschitz.bounds.entries import Entries
from app.lipschitz.deadline import Deadline
from app.lipschitz.domain import Ball, Box, Domain
from app.lipschitz.jacobian.jacobian import jacobian
from app.lipschitz.network.build import build
from app.lipschitz.network.nodes import Network
from app.lipschitz.problem import Estimate, Problem
from tests.lipschitz.helpers import captured

ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.ELU, nn.Softplus, nn.Hardtanh)


class Gated(nn.Module):
    """A product of two branches beside a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """x + left(x) sigmoid(right(x))."""
        return x + self.left(x) * torch.sigmoid(self.right(x))


class Attention(nn.Module):
    """One head over the rows of a matrix."""

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.rows, self.width = rows, width
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """Flat in, flat out."""
        tokens = x.reshape(-1, self.rows, self.width)
        weights = torch.softmax(self.query(tokens) @ self.key(tokens).mT, -1)
        return (weights @ self.value(tokens)).flatten(1)


def network(seed: int) -> tuple[nn.Module, tuple[int, ...]]:
    """A module and the shape of its input."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    kind = rng.randrange(5)
    if kind == 0:
        convolutions = [nn.Conv2d(1, 3, 3, padding=1), rng.choice(ACTIVATIONS)(), nn.MaxPool2d(2), nn.BatchNorm2d(3)]
        return nn.Sequential(*convolutions, nn.Conv2d(3, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)), (1, 1, 6, 6)
    if kind == 1:
        return nn.Sequential(Attention(3, 4), nn.LayerNorm(12), nn.Linear(12, 4), nn.Softmax(-1)), (1, 12)
    width = rng.randint(3, 10)
    layers: list[nn.Module] = [nn.Linear(rng.randint(1, 6), width)]
    inputs = layers[0].in_features
    for _ in range(rng.randint(1, 3)):
        layers += [rng.choice(ACTIVATIONS)(), rng.choice((nn.Linear(width, width), Gated(width)))]
    layers += [rng.choice((nn.Identity(), nn.RMSNorm(width, eps=1e-3))), nn.Linear(width, rng.randint(1, 4))]
    return nn.Sequential(*layers), (1, inputs)


def domain(seed: int, size: int, p: Any) -> Domain:
    """A box with some sides of length 0, or a ball."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.randn(size, dtype=torch.float64, generator=generator)
    radius = 10.0 ** random.Random(seed).uniform(-2, 0.5)
    if seed % 3:
        return Ball(centre, radius, p)
    sides = radius * torch.rand(size, dtype=torch.float64, generator=generator).round(decimals=1)
    return Box(centre - sides, centre + sides)


def problem_of(module: nn.Module, shape: Sequence[int], p: Any, where: Domain, seconds: float = 60.0) -> Problem:
    """What the methods get."""
    graph = captured(module, tuple(shape))
    return Problem(graph, build(graph, [0]), p, where, 0, Deadline.after(seconds), lambda _: None)


def bounded(problem: Problem) -> tuple[Estimate, Entries]:
    """The method's answer, with its enclosure."""
    found = jacobian(problem, JacobianOptions())
    assert found.entries is not None
    return found, found.entries


def derivatives(network: Network, points: Tensor) -> Tensor:
    """Jacobians at `(B, n)` points by automatic differentiation, `(B, m, n)`."""
    return torch.stack([torch.autograd.functional.jacobian(lambda x: network(x[None])[0], point) for point in points])
