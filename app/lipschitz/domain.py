"""Where the constant is taken: the whole space, a box, or a ball of the request's norm."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from .operators.norm import Norm
from .operators.scaling import safe_norm

FAR = 1e300
"""Points lie within this: their differences are finite."""

OUTSIDE = 1.0 + 2.0**-30
"""Rounds a radius up, for up to 2^22 coordinates."""

INSIDE = 1.0 - 2.0**-30
"""Keeps points within a ball in spite of the rounding of their distance, for up to 2^22 coordinates."""


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
        """Points of the set, `(B, n)`, near the given ones; those inside stay where they are.

        Where a search has overflowed, infinite coordinates count as far ones, and NaN as 0.
        """


@dataclass(frozen=True)
class WholeSpace(Domain):
    """R^n."""

    def sample(self, count: int, size: int, scale: float | Tensor, generator: Generator) -> Tensor:
        """Gaussian points with standard deviation `scale`."""
        return scale * torch.randn(count, size, dtype=torch.float64, generator=generator)

    def centre(self, size: int) -> Tensor:
        return torch.zeros(size, dtype=torch.float64)

    def radius_2(self, size: int) -> float:
        return math.inf

    def project(self, points: Tensor) -> Tensor:
        return _finite(points)


@dataclass(frozen=True, eq=False)
class Box(Domain):
    """`lower <= x <= upper`; both flat, or with one entry for all coordinates."""

    lower: Tensor
    upper: Tensor

    def sample(self, count: int, size: int, scale: float | Tensor, generator: Generator) -> Tensor:
        unit = torch.rand(count, size, dtype=torch.float64, generator=generator)
        return self.project(self.lower + (self.upper - self.lower) * unit)

    def centre(self, size: int) -> Tensor:
        return (0.5 * self.lower + 0.5 * self.upper).expand(size)

    def radius_2(self, size: int) -> float:
        away = torch.maximum(self.upper - self.centre(size), self.centre(size) - self.lower).expand(size)
        return OUTSIDE * float(vector_norm(away[None], "2"))

    def project(self, points: Tensor) -> Tensor:
        """Clipped to the box."""
        return torch.minimum(torch.maximum(_finite(points), self.lower), self.upper)


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
        return self.center.expand(size)

    def radius_2(self, size: int) -> float:
        """The radius, times sqrt(n) in the inf-norm."""
        return OUTSIDE * self.radius * (math.sqrt(size) if self.p == "inf" else 1.0)

    def project(self, points: Tensor) -> Tensor:
        """Pulled towards the centre until inside."""
        points = _finite(points)
        away = points - self.center
        distance = _scaled_norm(away, self.p)
        pulled = away * (INSIDE * self.radius / distance.clamp(min=torch.finfo(torch.float64).tiny))
        return torch.where(distance <= INSIDE * self.radius, points, _summed(self.center, pulled))


def _finite(points: Tensor) -> Tensor:
    return torch.nan_to_num(points, nan=0.0, posinf=FAR, neginf=-FAR)


def _summed(centre: Tensor, away: Tensor) -> Tensor:
    """centre + away, rounded towards the centre: no coordinate of the sum is further from it than `away`."""
    total = centre + away
    back = total - centre
    lost = (centre - (total - back)) + (away - back)  # the exact sum less the rounded one (Knuth)
    outside = torch.sign(lost) * torch.sign(away) < 0
    return torch.where(outside, torch.nextafter(total, centre.expand_as(total)), total)


def _scaled_norm(x: Tensor, p: Norm) -> Tensor:
    """The p-norm of every row, `(B, 1)`, whose squares neither underflow nor overflow."""
    size = x.abs().amax(1, keepdim=True)
    exponent = torch.frexp(torch.where(size > 0.0, size, 1.0)).exponent.clamp(-1000, 1000)
    return torch.ldexp(vector_norm(torch.ldexp(x, -exponent), p)[:, None], exponent)


def vector_norm(x: Tensor, p: Norm) -> Tensor:
    """||x||_p of every row."""
    return safe_norm(x, float(p), dim=1)
