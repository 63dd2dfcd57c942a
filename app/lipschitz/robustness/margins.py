"""Certified constants of f_c - f_j on balls about samples, where fewer slopes are possible than on the whole domain."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..bounds.local import Local
from ..domain import Ball
from ..lipsdp.dense.interior import Iterate
from ..lipsdp.margins import batch_of, between, is_semidefinite, last_piece, least_constants
from ..lipsdp.region import LEAST_WIDTH, Region, region_of, varying
from ..lipsdp.sizes import side
from ..network.nodes import Activation
from ..operators.norms import Norms
from ..problem import Problem
from ..walk.margins import walked
from ..walk.pieces import constants_within

LARGEST_SIDE = 300
"""Larger systems are not solved once more for every sample."""

GAP = 5e-3
"""Relative gap of a local constant to the relaxation's optimum, at most."""


class LocalMargins(ABC):
    """Constants of margins on balls of the request's norm, within the request's domain."""

    @abstractmethod
    def on_balls(self, points: Tensor, radii: Tensor, predicted: Tensor, asked: Tensor) -> Tensor:
        """Constants of f_c - f_j, `(S, m)`, on the balls about `points` `(S, n)`; c is `predicted`, `(S,)`.

        Infinite but where `asked`, `(S, m)`, and time is left.
        """


def local_margins(problem: Problem) -> LocalMargins:
    """LipSDP for small networks of affine maps and activations in the 2-norm, AutoLip's walk for all others."""
    piece = last_piece(problem, 0)
    whole = piece.start is problem.network.input and is_semidefinite(piece, problem.local)
    if problem.p != "2" or not whole or side(piece, problem.local) > LARGEST_SIDE:
        return ByWalk(problem)
    slopes = {node: problem.local.slopes(node) for node in piece.activations}
    constants = constants_within(problem, piece)
    region = region_of(piece.start, piece.end, piece.nodes, slopes, constants, by_layer=False)
    return BySemidefinite(problem, region) if isinstance(region, Region) else ByWalk(problem)


@dataclass(frozen=True, eq=False)
class ByWalk(LocalMargins):
    """One walk a sample."""

    problem: Problem

    def on_balls(self, points: Tensor, radii: Tensor, predicted: Tensor, asked: Tensor) -> Tensor:
        """As the base class says."""
        constants = torch.full(asked.shape, math.inf, dtype=torch.float64)
        for row, (point, radius) in enumerate(zip(points, radii.tolist(), strict=True)):
            if self.problem.deadline.passed:
                break
            constants[row] = self._on(point, radius)[predicted[row]]
        return torch.where(asked, constants, math.inf)

    def _on(self, point: Tensor, radius: float) -> Tensor:
        """All pairs on one ball; norms with the ball's slopes folded in are of no use to others."""
        return walked(replace(self.problem, domain=Ball(point, radius, self.problem.p), norms=Norms()))


@dataclass(frozen=True, eq=False)
class BySemidefinite(LocalMargins):
    """All samples and pairs in batches of one system, each with slopes of its own."""

    problem: Problem
    region: Region

    def on_balls(self, points: Tensor, radii: Tensor, predicted: Tensor, asked: Tensor) -> Tensor:
        """As the base class says."""
        ends = [self._slopes(x, r) for x, r in zip(points, radii.tolist(), strict=True)]
        lower, upper = (torch.stack(end) for end in zip(*ends, strict=True))
        constants = torch.full(asked.shape, math.inf, dtype=torch.float64)
        for part in asked.nonzero().split(batch_of(self.region.system)):
            if self.problem.deadline.passed:
                break
            sample, other = part.unbind(1)
            pairs = between(self.region.system, predicted[sample], other)
            system = replace(pairs, lower=lower[sample], upper=upper[sample])
            constants[sample, other] = least_constants(system, self.region, GAP, self._is_late)
        return constants

    def _is_late(self, now: Iterate) -> bool:  # noqa: ARG002 - whatever the iterate
        return self.problem.deadline.passed

    def _slopes(self, point: Tensor, radius: float) -> tuple[Tensor, Tensor]:
        """The neurons' slopes on one ball, within those on the domain, `(M,)` each; never a single number."""
        local = Local(self.problem.network, Ball(point, radius, self.problem.p), self.problem.deadline)
        ends = [self._of_free(local, node) for node in self.region.activations]
        lower, upper = (torch.cat(end) for end in zip(*ends, strict=True))
        least, most = self.region.system.lower[0], self.region.system.upper[0]
        short = (LEAST_WIDTH * (most - least) - (upper - lower)).clamp(min=0.0)
        return torch.maximum(lower - short, least), torch.minimum(upper + short, most)

    def _of_free(self, local: Local, node: Activation) -> tuple[Tensor, Tensor]:
        """The slopes of the neurons that are variables of the system."""
        free = varying(*self.problem.local.slopes(node))
        lower, upper = local.slopes(node)
        return lower[free], upper[free]
