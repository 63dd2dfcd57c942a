"""A bound proved phase by phase: a tree of splits of neurons at their kinks, and a proof for every leaf.

On a domain with an interior the constant of a piecewise linear function is the largest norm of its Jacobians on open
sets where it is linear. Going down the tree, such a set takes the half where each neuron's pre-activation is positive
or negative (either, where it is zero throughout: then both slopes give the same). So it arrives at a leaf, and there

- is no open set at all, as a sum of the conditions on the way proves (`emptiness`),
- or every Jacobian with the slopes of the way, and slopes within their ranges elsewhere, has a norm of at most the
  constant: from the matrix with all its errors, or, where multipliers are given, by LipSDP's inequality.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..claims import PhaseRecord
from ..domain import Ball, Box, WholeSpace
from ..network.nodes import Activation, Affine, Concat, Network
from ..problem import Problem
from .balls import Array
from .balls import Ball as Matrices
from .emptiness import Regions, Sides
from .fields import InvalidCertificate
from .forms import BallForms, Slopes, identity
from .matrices import TooLarge, array
from .norms import norm_at_most
from .ramps import Ramps
from .semidefinite import proves, system

MOST_NEURONS = 4096

Ranges = Mapping[Activation, tuple[Array, Array]]
"""Least and greatest slopes, `(n,)` each."""
Free = Mapping[Activation, NDArray[np.intp]]
"""Positions of the neurons that have a multiplier."""


def check_tree(problem: Problem, records: Sequence[PhaseRecord], constant: float) -> None:
    """InvalidCertificate unless the whole tree proves that the network's constant is at most `constant`.

    OutOfTime once the problem's deadline is over.
    """
    phases = Phases(problem)
    open_ = [np.zeros(phases.ramps.count, dtype=np.int8)]
    for record in records:
        problem.deadline.check()
        if not open_:
            raise InvalidCertificate("the tree of phases has more nodes than its splits have room for")
        sides = open_.pop()
        if record.split is not None:
            open_ += [phases.half(sides, record.split, 1), phases.half(sides, record.split, -1)]
        elif not phases.closed(sides, record, constant):
            raise InvalidCertificate("a leaf of the tree of phases is not proved")
    if open_:
        raise InvalidCertificate("the tree of phases is not complete: a half is missing")


@dataclass(frozen=True, eq=False)
class Phases:
    """The network's phases on its domain, both of which have to be of the kind that the argument needs."""

    problem: Problem

    def __post_init__(self) -> None:
        _require_interior(self.problem)
        if not all(isinstance(node, Affine | Concat | Activation) for node in self._network.nodes[1:]):
            raise InvalidCertificate("the network holds more than affine maps and elementwise activations")

    @property
    def _network(self) -> Network:
        return self.problem.network

    @cached_property
    def ramps(self) -> Ramps:
        ramps = Ramps(self._network.nodes)
        if ramps.count > MOST_NEURONS:
            raise InvalidCertificate(f"too large to be checked: {ramps.count} neurons, and {MOST_NEURONS} at most")
        return ramps

    @cached_property
    def _regions(self) -> Regions:
        return Regions(self._network.input, self.problem.domain, self.ramps)

    @cached_property
    def _local(self) -> Ranges:
        """Slopes on the domain."""
        ends = {node: self.problem.local.slopes(node) for node in self.ramps.activations}
        return {node: (array(lower), array(upper)) for node, (lower, upper) in ends.items()}

    @cached_property
    def _global(self) -> Ranges:
        """Slopes on both sides of the kinks, for which multipliers are meant; others do not suit narrower ranges."""
        sides = {node: (self.ramps.slopes[node][-1], self.ramps.slopes[node][1]) for node in self.ramps.activations}
        return {node: (np.minimum(*both), np.maximum(*both)) for node, both in sides.items()}

    def half(self, sides: Sides, split: int, side: int) -> Sides:
        """One half of a node."""
        if split >= len(sides) or sides[split]:
            raise InvalidCertificate(f"neuron {split} cannot be split there")
        half = sides.copy()
        half[split] = side
        return half

    def closed(self, sides: Sides, record: PhaseRecord, constant: float) -> bool:
        """Whether a leaf's proof holds."""
        if record.rows is not None:
            return self._regions.empty(sides, record.rows)
        try:
            if record.multipliers is None:
                return self._has_small_matrix(sides, constant)
            return self._is_feasible(sides, record.multipliers, constant)
        except TooLarge as reason:
            raise InvalidCertificate(f"too large to be checked: {reason}") from reason

    def _has_small_matrix(self, sides: Sides, constant: float) -> bool:
        none = np.zeros(0, dtype=np.intp)
        slopes = self._slopes(sides, self._local, dict.fromkeys(self.ramps.activations, none))
        form = BallForms(self._network.input, slopes).of(self._network.output)
        if form.keys() != {self._network.input}:
            return False
        matrix = form[self._network.input]
        whole = identity(self._network.input.size) if matrix is None else matrix
        return _all_at_most(whole, constant, self.problem.p)

    def _is_feasible(self, sides: Sides, multipliers: Sequence[float], constant: float) -> bool:
        if self.problem.p != "2":
            raise InvalidCertificate("multipliers prove bounds of the 2-norm only")
        loose = np.flatnonzero(sides == 0)
        if len(multipliers) != len(loose):
            raise InvalidCertificate(f"a leaf with {len(loose)} neurons that are not split needs a multiplier for each")
        t = np.zeros(len(sides))
        t[loose] = multipliers
        free = {node: np.flatnonzero(t[self._own(node)]) for node in self.ramps.activations}
        square = math.nextafter(constant * constant, 0.0)
        if not (math.isfinite(square) and (t >= 0.0).all()):
            return False
        constraint = system(self._network.input, self._network.output, self._slopes(sides, self._global, free))
        return proves(constraint, square, t[t != 0.0])

    def _own(self, node: Activation) -> slice:
        first = self.ramps.first(node)
        return slice(first, first + node.size)

    def _slopes(self, sides: Sides, ranges: Ranges, free: Free) -> dict[Activation, Slopes]:
        """Those of the neurons' sides, and the ranges of neurons that have none."""
        slopes = {}
        for node, positions in free.items():
            own, at = sides[self._own(node)], self.ramps.slopes[node]
            lower, upper = (np.where(own > 0, at[1], np.where(own < 0, at[-1], end)) for end in ranges[node])
            slopes[node] = Slopes(lower, upper, positions)
        return slopes


def _all_at_most(whole: Matrices, constant: float, p: str) -> bool:
    """Whether all matrices of the ball have a norm of at most `constant`: at once, apart, or by their magnitudes."""
    if norm_at_most(whole, constant, p):
        return True
    if not (np.isfinite(whole.middle).all() and np.isfinite(whole.radius).all()):
        return False
    spread = Matrices.exact(whole.radius)
    away = float(np.linalg.norm(whole.radius, float(p))) * (1.0 + 1e-9)
    left = math.nextafter(constant - away, 0.0)
    if left > 0.0 and norm_at_most(spread, away, p) and norm_at_most(Matrices.exact(whole.middle), left, p):
        return True
    return norm_at_most(Matrices.exact(whole.magnitude), constant, p)


def _require_interior(problem: Problem) -> None:
    """Without one every region is empty, and the Jacobians say nothing."""
    domain = problem.domain
    wide = isinstance(domain, WholeSpace)
    if isinstance(domain, Box):
        wide = bool((domain.lower < domain.upper).all())
    if isinstance(domain, Ball):
        wide = domain.radius > 0.0
    if not wide:
        raise InvalidCertificate("the domain has no interior")
