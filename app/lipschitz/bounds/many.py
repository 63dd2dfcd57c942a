"""Ranges of every node on many balls at once, found and proved as `linear` and `backward` do on one domain.

A batch has `S` balls of one norm; ranges are `(S, n)`. Linear bounds are sought for pairs of a ball and a functional,
so that a ball on which few neurons are open costs little beside one on which many are. What rounding may have changed
is bounded for the largest arguments of the whole batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..network.nodes import Activation, Affine, Concat, Network, Node
from ..network.scalar import ONE, ZERO, PiecewiseMonotone, Scalar
from ..operators.composite import Composed, Stack, Sum
from ..operators.rounding import UNIT
from .balls import Balls, Ranges, enclose, of_balls
from .lines import lines

Stop = Callable[[], bool]


@dataclass(frozen=True, eq=False)
class Lines:
    """`slope x + offset` below and above an elementwise function on each ball, `(S, n)` each."""

    below: tuple[Tensor, Tensor]
    above: tuple[Tensor, Tensor]
    is_rectifier: bool = False


def serves(network: Network) -> bool:
    """Whether all nodes are affine maps and activations."""
    return all(isinstance(node, Affine | Concat | Activation) for node in network.nodes[1:])


def lines_around(scalar: Scalar, source: Ranges) -> Lines:
    """Lines around an activation on each ball's range: the rectifier's in closed form, any other's as `lines` does."""
    if is_rectifier(scalar):
        return _around_rectifier(source)
    around = lines(scalar, source.lower, source.upper)
    return Lines(around.lower, around.upper)


def is_rectifier(scalar: Scalar) -> bool:
    """Whether the function is max(x, 0)."""
    if not (isinstance(scalar, PiecewiseMonotone) and scalar.linear and len(scalar.peaks) == 1):
        return False
    knot = scalar.peaks[0]
    at = knot.place.at
    return isinstance(at, float) and at == 0.0 and knot.place.is_exact and knot.left is ZERO and knot.right is ONE


def _around_rectifier(source: Ranges) -> Lines:
    """Below a x with a the nearer of 0 and 1 (Zhang et al. 2018), above the chord, its offset rounded up.

    k x + d is above the convex max(x, 0) where it is at both ends.
    """
    least, most = source.lower, source.upper
    below = (most > -least).to(least.dtype)
    below = torch.where(least >= 0.0, 1.0, torch.where(most <= 0.0, 0.0, below))
    chord = (most / (most - least)).clamp(0.0, 1.0).nan_to_num(nan=1.0)
    slope = torch.where(least >= 0.0, 1.0, torch.where(most <= 0.0, 0.0, chord))
    high = torch.maximum(_up(-slope * least), _up((1.0 - slope) * (1.0 + 4 * UNIT) * most)).clamp(min=0.0)
    offset = torch.where((least >= 0.0) | (most <= 0.0), 0.0, high)
    return Lines((below, torch.zeros_like(below)), (slope, offset.nan_to_num(nan=math.inf)), is_rectifier=True)


def _up(x: Tensor) -> Tensor:
    """The next double above: of a product, which may have been rounded."""
    return torch.nextafter(x, torch.full_like(x, math.inf))


@dataclass(eq=False)
class Many:
    """What is known of a network's nodes on a batch of balls; where `phases`, `(S, n)`, say so on their parts only: +1
    for those where an entry is not negative, -1 where it is not positive. `empty`, `(S,)`, are parts without points.
    """

    network: Network
    balls: Balls
    is_over: Stop = lambda: False
    phases: Mapping[Node, Tensor] = field(default_factory=dict)
    ranges: dict[Node, Ranges] = field(default_factory=dict)
    lines: dict[Activation, Lines] = field(default_factory=dict)
    empty: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.bool))

    def run(self, narrow: Callable[[Many, Node, Tensor], None] | None = None) -> Many:
        """All ranges; `narrow(self, node, open)` may improve those of entries `(S, n)` whose reader is not settled."""
        self.ranges = {self.network.input: of_balls(self.balls)}
        readers = _readers(self.network)
        for node in self.network.nodes[1:]:
            self.ranges[node] = enclose(node, self.ranges)
            self._cut(node)
            if narrow is not None and node in readers and not self._is_exact(node) and not self.is_over():
                narrow(self, node, self._open(node, readers[node]))
                self._cut(node)
        return self

    def _cut(self, node: Node) -> None:
        """Keeps to the phases; ends that have crossed tell that there are no points."""
        if node not in self.phases:
            return
        known, phases = self.ranges[node], self.phases[node]
        lower = torch.where(phases > 0, known.lower.clamp(min=0.0), known.lower)
        upper = torch.where(phases < 0, known.upper.clamp(max=0.0), known.upper)
        crossed = lower > upper
        self.empty = crossed.any(1) | self.empty
        self.ranges[node] = Ranges(torch.where(crossed, upper, lower), upper, known.balls)

    def lines_of(self, node: Activation) -> Lines:
        """Lines around an activation whose argument's range is final."""
        if node not in self.lines:
            self.lines[node] = lines_around(node.scalar, self.ranges[node.source])
        return self.lines[node]

    def meet(self, node: Node, sample: Tensor, entry: Tensor, lower: Tensor, upper: Tensor) -> None:
        """Narrows the range of some entries `(K,)`."""
        known = self.ranges[node]
        least, most = known.lower.clone(), known.upper.clone()
        least[sample, entry] = torch.maximum(least[sample, entry], lower)
        most[sample, entry] = torch.minimum(most[sample, entry], upper)
        self.ranges[node] = Ranges(least, most, known.balls)

    def _open(self, node: Node, readers: list[Activation]) -> Tensor:
        own = self.ranges[node]
        is_open = torch.zeros_like(own.lower, dtype=torch.bool)
        for reader in readers:
            least, most = reader.scalar.slopes(own.lower, own.upper)
            is_open = is_open | (least < most)
        return is_open & (own.lower < own.upper)

    def _is_exact(self, node: Node) -> bool:
        """Interval arithmetic on the ball is as good for a single layer."""
        if not isinstance(node, Affine) or len(node.terms) > 1 or node.terms[0].source is not self.network.input:
            return False
        return not isinstance(node.terms[0].operator, Composed | Sum | Stack)


def _readers(network: Network) -> dict[Node, list[Activation]]:
    readers: dict[Node, list[Activation]] = {}
    for node in network.nodes:
        if isinstance(node, Activation):
            readers.setdefault(node.source, []).append(node)
    return readers
