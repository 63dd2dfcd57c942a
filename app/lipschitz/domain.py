"""Where the constant is taken: the whole space, a box, or a ball of the request's norm."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from app.lipschitz.operators.norm import Norm

INSIDE = 1.0 - 2.0**-40
"""Keeps sampled points within a ball in spite of rounding."""


class Domain(ABC):
    """A convex set of flat inputs."""

    @abstractmethod
    def sample(self, count: int, size: int, scale: float, generator: Generator) -> Tensor:
        """Random points, `(count, size)`; `scale` is the spread where the set has none of its own."""

    @abstractmethod
    def project(self, points: Tensor) -> Tensor:
        """Points of the set, `(B, n)`, near the given ones; those inside stay where they are."""


@dataclass(frozen=True)
class WholeSpace(Domain):
    """R^n."""

    def sample(self, count: int, size: int, scale: float, generator: Generator) -> Tensor:
        """Gaussian points with standard deviation `scale`."""
        return scale * torch.randn(count, size, dtype=torch.float64, generator=generator)

    def project(self, points: Tensor) -> Tensor:
        """The points themselves."""
        return points


@dataclass(frozen=True, eq=False)
class Box(Domain):
    """`lower <= x <= upper`; both flat, or with one entry for all coordinates."""

    lower: Tensor
    upper: Tensor

    def sample(self, count: int, size: int, scale: float, generator: Generator) -> Tensor:
        """Uniform points."""
        unit = torch.rand(count, size, dtype=torch.float64, generator=generator)
        return self.project(self.lower + (self.upper - self.lower) * unit)

    def project(self, points: Tensor) -> Tensor:
        """Clipped to the box."""
        return torch.minimum(torch.maximum(points, self.lower), self.upper)


@dataclass(frozen=True, eq=False)
class Ball(Domain):
    """`||x - center||_p <= radius`."""

    center: Tensor
    radius: float
    p: Norm

    def sample(self, count: int, size: int, scale: float, generator: Generator) -> Tensor:
        """Random directions, radii that fill the ball evenly in low dimensions."""
        away = torch.randn(count, size, dtype=torch.float64, generator=generator)
        reach = self.radius * torch.rand(count, 1, dtype=torch.float64, generator=generator)
        return self.project(self.center + reach * away / vector_norm(away, self.p)[:, None])

    def project(self, points: Tensor) -> Tensor:
        """Pulled towards the centre until inside."""
        away = points - self.center
        distance = vector_norm(away, self.p)[:, None]
        pulled = self.center + away * (INSIDE * self.radius / distance.clamp(min=torch.finfo(torch.float64).tiny))
        return torch.where(distance <= INSIDE * self.radius, points, pulled)


def vector_norm(x: Tensor, p: Norm) -> Tensor:
    """||x||_p of every row."""
    lengths: Tensor = torch.linalg.vector_norm(x, float(p), dim=1)
    return lengths
