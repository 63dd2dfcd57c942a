"""Where the constant is taken: the whole space, a box, or a ball of the request's norm."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from app.lipschitz.operators.norm import Norm
from app.lipschitz.operators.scaling import safe_norm

OUTSIDE = 1.0 + 2.0**-30
"""Rounds a radius up, for up to 2^22 coordinates."""

INSIDE = 1.0 - 2.0**-40
"""Keeps sampled points within a ball in spite of rounding."""


class Domain(ABC):
    """A convex set of flat inputs."""

    @abstractmethod
    def sample(self, count: int, size: int, scale: float | Tensor, generator: Generator) -> Tensor:
        """Random points, `(count, size)`; `scale`, one or `(count, 1)`, is the spread in a set that has none."""

    @abstractmethod
    def centre(self, size: int) -> Tensor:
        """The middle of a bounded set, `(size,)`; the origin for the whole space."""

    @abstractmethod
    def radius_2(self, size: int) -> float:
        """Largest 2-norm distance of a point from `centre`, rounded up."""

    @abstractmethod
    def project(self, points: Tensor) -> Tensor:
        """Points of the set, `(B, n)`, near the given ones; those inside stay where they are."""


@dataclass(frozen=True)
class WholeSpace(Domain):
    """R^n."""

    def sample(self, count: int, size: int, scale: float | Tensor, generator: Generator) -> Tensor:
        """Gaussian points with standard deviation `scale`."""
        return scale * torch.randn(count, size, dtype=torch.float64, generator=generator)

    def centre(self, size: int) -> Tensor:
        """The origin."""
        return torch.zeros(size, dtype=torch.float64)

    def radius_2(self, size: int) -> float:
        """Infinite."""
        return math.inf

    def project(self, points: Tensor) -> Tensor:
        """The points themselves."""
        return points


@dataclass(frozen=True, eq=False)
class Box(Domain):
    """`lower <= x <= upper`; both flat, or with one entry for all coordinates."""

    lower: Tensor
    upper: Tensor

    def sample(self, count: int, size: int, scale: float | Tensor, generator: Generator) -> Tensor:
        """Uniform points."""
        unit = torch.rand(count, size, dtype=torch.float64, generator=generator)
        return self.project(self.lower + (self.upper - self.lower) * unit)

    def centre(self, size: int) -> Tensor:
        """The midpoints."""
        return (0.5 * self.lower + 0.5 * self.upper).expand(size)

    def radius_2(self, size: int) -> float:
        """Half the diagonal."""
        away = torch.maximum(self.upper - self.centre(size), self.centre(size) - self.lower).expand(size)
        return OUTSIDE * float(vector_norm(away[None], "2"))

    def project(self, points: Tensor) -> Tensor:
        """Clipped to the box."""
        return torch.minimum(torch.maximum(points, self.lower), self.upper)


@dataclass(frozen=True, eq=False)
class Ball(Domain):
    """`||x - center||_p <= radius`."""

    center: Tensor
    radius: float
    p: Norm

    def sample(self, count: int, size: int, scale: float | Tensor, generator: Generator) -> Tensor:
        """Random directions, radii that fill the ball evenly in low dimensions."""
        away = torch.randn(count, size, dtype=torch.float64, generator=generator)
        reach = self.radius * torch.rand(count, 1, dtype=torch.float64, generator=generator)
        return self.project(self.center + reach * away / vector_norm(away, self.p)[:, None])

    def centre(self, size: int) -> Tensor:
        """The centre."""
        return self.center.expand(size)

    def radius_2(self, size: int) -> float:
        """The radius, times sqrt(n) in the inf-norm."""
        return OUTSIDE * self.radius * (math.sqrt(size) if self.p == "inf" else 1.0)

    def project(self, points: Tensor) -> Tensor:
        """Pulled towards the centre until inside."""
        away = points - self.center
        distance = vector_norm(away, self.p)[:, None]
        pulled = self.center + away * (INSIDE * self.radius / distance.clamp(min=torch.finfo(torch.float64).tiny))
        near = torch.where(distance <= INSIDE * self.radius, points, pulled)
        # Beside a large centre a point is rounded further than a small radius reaches.
        inside = vector_norm(near - self.center, self.p)[:, None] <= (1.0 + INSIDE) / 2.0 * self.radius
        return torch.where(inside, near, self.center)


def vector_norm(x: Tensor, p: Norm) -> Tensor:
    """||x||_p of every row."""
    return safe_norm(x, float(p), dim=1)
