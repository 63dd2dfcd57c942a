"""Points in parts of the domain: what is steep there may be steeper than what is attained so far."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ...deadline import Deadline
from ...domain import Ball, Domain
from ...lower.jacobian import steepest_at
from ...lower.pairs import Best
from ...problem import Problem, Witness
from .functionals import Functionals
from .kinks import Kinks
from .part import Parts

STEPS, LAST_STEPS = 12, 200
"""Towards a part's conditions, and those of one without open neurons, where they are linear."""
ROOMS = (1e-3, 1e-2, 5e-2)
"""Distances from the conditions' ends that points look for, relative to the ranges."""
NEWS = 1e-6
"""A point must promise that much more, relatively, for a new pair."""


@dataclass(eq=False)
class Points:
    """Moves points into their parts, and keeps the steepest pair, `witness`."""

    problem: Problem
    known: Functionals
    kinks: Kinks
    witness: Witness
    tried: float = field(default=0.0, init=False)

    def moved(self, parts: Parts, steps: int = STEPS) -> Parts:
        """The parts with points that meet their conditions, with some room where it is found, by Polyak's steps."""
        point = parts.point
        for room in ROOMS:
            closer, missing = self._stepped(parts, point, room, steps)
            point = torch.where((missing <= 0.0)[:, None] | (room == ROOMS[0]), closer, point)
        return replace(parts, point=point)

    def _stepped(self, parts: Parts, point: Tensor, room: float, steps: int) -> tuple[Tensor, Tensor]:
        length = (parts.upper - parts.lower).clamp(min=1e-300)
        for _ in range(steps):
            x = point.clone().requires_grad_(True)
            with torch.enable_grad():
                v = self._arguments(parts, x)
                short = (parts.least - v) / length + room, (v - parts.most) / length + room
                total = (short[0].clamp(min=0.0) + short[1].clamp(min=0.0)).sum(1)
                (pull,) = torch.autograd.grad(total.sum(), x)
            if not bool((total > 0).any()):
                break
            step = total.detach()[:, None] * pull / pull.square().sum(1, keepdim=True).clamp(min=1e-300)
            inside = torch.minimum(torch.maximum(point - step, parts.from_), parts.to)
            point = _projected(self.problem.domain, inside)
        return point, total.detach()

    def look(self, parts: Parts, deadline: Deadline) -> float:
        """The attained slope after a look at the parts' points."""
        pair = steepest_at(self.problem.network, parts.point, self.problem.p)
        best = int(pair.norms.argmax())
        promised = float(pair.norms[best])
        if promised > max(self.witness.value, self.tried) * (1.0 + NEWS) and not deadline.passed:
            self.tried = promised
            offers = Best(self.problem, "exact")
            reach = parts.point.new_full((1, 1), max(1.0, float(parts.point[best].abs().max())))
            offers.offer_around(parts.point[best : best + 1], pair.directions[best : best + 1], reach, deadline)
            self.witness = max(self.witness, offers.witness(), key=lambda one: one.value)
        return self.witness.value

    def _arguments(self, parts: Parts, x: Tensor) -> Tensor:
        """The open neurons' arguments at points `(P, n)`, `(P, M)`, to rounding, with the phases that parts fix."""
        below, at = self.known.below, self.kinks.at
        is_right, is_left = parts.least >= at, parts.most <= at
        direct = x @ below.x.T + below.constant
        z, v = torch.zeros_like(direct), []
        for layer in self.known.layers:
            own = direct[:, layer] + z @ below.z[layer].T
            v.append(own)
            kinks = self.kinks
            left = own * kinks.left[layer] + kinks.bottom[layer]
            right = own * kinks.right[layer] + kinks.top[layer]
            goes_right = is_right[:, layer] | (~is_left[:, layer] & (own > at[layer]))
            value = torch.where(goes_right, right, left)
            z = torch.cat([z[:, : layer.start], value, z[:, layer.stop :]], 1)
        return torch.cat(v, 1)


def _projected(domain: Domain, points: Tensor) -> Tensor:
    """Points of the domain next to the given ones, in the 1-norm too (Duchi et al., ICML 2008)."""
    if isinstance(domain, Ball) and domain.p == "1":
        away = points - domain.center
        size = away.abs().sort(1, descending=True).values
        count = torch.arange(1, size.shape[1] + 1, dtype=size.dtype)
        level = (size.cumsum(1) - domain.radius) / count
        last = (size > level).sum(1, keepdim=True) - 1
        cut = level.gather(1, last.clamp(min=0)).clamp(min=0.0)
        points = domain.center + away.sign() * (away.abs() - cut).clamp(min=0.0)
    return domain.project(points)
