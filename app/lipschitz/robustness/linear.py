"""How far rows may move by linear bounds of their margins on balls: many rows at once, or one after another.

A margin's linear bound a x + c on a ball of radius R proves min(R, (a x0 + c) / ||a||) whatever becomes of R itself.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from ..bounds.balls import Balls
from ..bounds.functionals import CHUNK, Functionals, narrowed
from ..bounds.linear import ranges
from ..bounds.many import Many, serves
from ..domain import Ball, Box
from ..network.maxima import written_out
from ..network.nodes import Affine, Network, Term
from ..network.propagation import propagate
from ..operators.dense import Dense
from ..operators.rounding import UNIT
from ..problem import Problem
from .splitting import Splitting

ROWS = 128
"""Rows of a batch, where their values take little memory."""


class LinearMargins(ABC):
    """What linear bounds prove of f_c - f_j, c a row's class."""

    batch: int

    @abstractmethod
    def at(self, points: Tensor, predicted: Tensor) -> Tensor:
        """Lower bounds at the points themselves, `(S, m)`, infinite for j = c."""

    @abstractmethod
    def reach(self, points: Tensor, radii: Tensor, predicted: Tensor) -> Tensor:
        """Radii of at most `radii` `(S,)` within which f_c - f_j is positive, `(S, m)`, infinite for j = c; 0 where
        none is proved.
        """

    def split(self, points: Tensor, radii: Tensor, predicted: Tensor) -> Tensor:  # noqa: ARG002 - where it is served
        """Which rows are proved to keep their prediction within their radii by branch and bound, `(S,)`."""
        return torch.zeros(len(points), dtype=torch.bool)


def linear_margins(problem: Problem) -> LinearMargins:
    """All rows at once for affine maps, activations and maxima, else one after another."""
    plain = Network(written_out(problem.network.nodes).nodes)
    if not serves(plain):
        return OneByOne(problem)
    widest = max(node.size for node in plain.nodes)
    return Together(problem, plain, max(1, min(ROWS, CHUNK // (4 * widest))))


@dataclass(frozen=True, eq=False)
class Together(LinearMargins):
    """Batches of rows, each with a ball of its own."""

    problem: Problem
    network: Network
    batch: int

    def at(self, points: Tensor, predicted: Tensor) -> Tensor:
        """As the base class says."""
        still = Balls(points, torch.zeros(len(points), dtype=torch.float64), self.problem.p)
        values = Many(self.network, still).run().ranges[self.network.output]
        own = values.lower.gather(1, predicted[:, None])
        return lead_of(own, values.upper, predicted)

    def reach(self, points: Tensor, radii: Tensor, predicted: Tensor) -> Tensor:
        """As the base class says."""
        many = Many(self.network, Balls(points, radii, self.problem.p), lambda: self.problem.deadline.passed)
        many.run(narrowed)
        count, size = len(points), self.network.output.size
        reached = torch.full((count, size), math.inf, dtype=torch.float64)
        sample, other = (torch.arange(size) != predicted[:, None]).nonzero(as_tuple=True)
        widest = max(node.size for node in self.network.nodes)
        for part in torch.arange(len(sample)).split(max(1, CHUNK // widest)):
            s, j = sample[part], other[part]
            reached[s, j] = 0.0 if self.problem.deadline.passed else self._pairs(many, s, predicted[s], j)
        return reached

    def split(self, points: Tensor, radii: Tensor, predicted: Tensor) -> Tensor:
        """As the base class says."""
        balls = Balls(points, radii, self.problem.p)
        search = Splitting(self.network, balls, predicted, self.problem.deadline)
        return search.proved() if search.rectifiers else torch.zeros(len(points), dtype=torch.bool)

    def _pairs(self, many: Many, sample: Tensor, c: Tensor, j: Tensor) -> Tensor:
        """The radii of some pairs of a row and another class."""
        rows = torch.zeros(len(sample), self.network.output.size, dtype=torch.float64)
        rows[torch.arange(len(sample)), c] = 1.0
        rows[torch.arange(len(sample)), j] = -1.0
        least = Functionals(many, sample).least(self.network.output, rows)
        value, fall = least.at(many.balls.centres[sample]), least.slope(self.problem.p)
        quotient = (value / fall).nan_to_num(nan=0.0).clamp(min=0.0) * (1.0 - 4.0 * UNIT)
        return torch.where(value > 0.0, torch.minimum(quotient, many.balls.radii[sample]), 0.0)


@dataclass(frozen=True, eq=False)
class OneByOne(LinearMargins):
    """Any network: the ranges of its margins on the ball about one row."""

    problem: Problem
    batch: int = 1

    def at(self, points: Tensor, predicted: Tensor) -> Tensor:
        """As the base class says."""
        network = self.problem.network
        values = [propagate(network, Box(x, x))[network.output] for x in points]
        lower, upper = (torch.stack([getattr(one, end) for one in values]) for end in ("lower", "upper"))
        return lead_of(lower.gather(1, predicted[:, None]), upper, predicted)

    def reach(self, points: Tensor, radii: Tensor, predicted: Tensor) -> Tensor:
        """As the base class says."""
        size = self.problem.network.output.size
        reached = torch.zeros(len(points), size, dtype=torch.float64)
        for row, (x, radius, c) in enumerate(zip(points, radii.tolist(), predicted.tolist(), strict=True)):
            if self.problem.deadline.passed:
                break
            network = followed_by_margins(self.problem.network, c)
            lower = ranges(network, Ball(x, radius, self.problem.p), self.problem.deadline)[network.output].lower
            reached[row] = torch.where(lower > 0.0, radius, 0.0)
            reached[row, c] = math.inf
        return reached


def lead_of(own: Tensor, upper: Tensor, predicted: Tensor) -> Tensor:
    """Lower bounds of f_c - f_j from that of f_c, `(S, 1)`, and upper ones of all f_j, `(S, m)`."""
    lead = own - upper
    lead = lead - 2.0 * UNIT * (own.abs() + upper.abs())
    lead = torch.nan_to_num(lead, nan=-math.inf, neginf=-math.inf)
    return lead.scatter(1, predicted[:, None], math.inf)


def followed_by_margins(network: Network, c: int) -> Network:
    """f_c - f_j for all j, 0 for j = c."""
    size = network.output.size
    matrix = -torch.eye(size, dtype=torch.float64)
    matrix[:, c] += 1.0
    last = Affine((size,), (), (Term(network.output, Dense((size,), (size,), matrix)),), None, 0, "affine")
    return Network((*network.nodes, last))
