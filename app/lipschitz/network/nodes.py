"""The typed graph that every bound is computed on.

All values are flat float64 vectors, evaluated in batches `(B, n)`, so that neither the model's own batch
axis nor its tensor layout can be confused with the batch of points. Nodes hold their sources directly and
compare by identity; `Network.nodes` lists them in topological order, input first.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..artifact.captured import Origin
from ..operators.base import LinearOperator, Shape
from ..operators.norm import Norm
from .ends import Ends
from .scalar import Scalar

Kind = Literal["affine", "activation", "pooling", "normalization", "merge", "structural"]
Function = Callable[[Tensor], Tensor]
Constants = Mapping[Norm, float]
"""Lipschitz constants by norm; infinite where there is none."""
Enclosure = Callable[[Function, Tensor, Tensor], Ends]
"""(function, lower, upper) -> entrywise bounds of function(x) over lower <= x <= upper, flat vectors."""


@dataclass(frozen=True, eq=False)
class Node(ABC):
    """One vector-valued step; `origins` are the source file's layers that it stands for."""

    shape: Shape
    origins: tuple[Origin, ...]

    @property
    def size(self) -> int:
        """Number of entries of the node's value."""
        return math.prod(self.shape)

    @property
    @abstractmethod
    def sources(self) -> tuple[Node, ...]:
        """The nodes whose values this one reads, in order."""

    @abstractmethod
    def apply(self, *values: Tensor) -> Tensor:
        """The node's value from its sources' values, `(B, n_i)` each -> `(B, size)`."""


@dataclass(frozen=True, eq=False)
class Input(Node):
    """All floating-point inputs of the model, laid end to end."""

    @property
    def sources(self) -> tuple[Node, ...]:
        """None: the input is where the walk starts."""
        return ()

    def apply(self, *_values: Tensor) -> Tensor:
        """Never called: the input's value is given."""
        raise AssertionError("an input has no sources")


@dataclass(frozen=True, eq=False)
class Term:
    """One summand `operator @ source` of an affine node."""

    source: Node
    operator: LinearOperator


@dataclass(frozen=True, eq=False)
class Affine(Node):
    """`sum_j A_j s_j + bias`: one fused affine region; several terms where branches are added.

    `bias_radius` bounds, entry by entry, the distance of the bias to the one in real arithmetic; None: exact.
    """

    terms: tuple[Term, ...]
    bias: Tensor | None
    parameters: int
    kind: Kind
    bias_radius: Tensor | None = None

    @property
    def sources(self) -> tuple[Node, ...]:
        """One source a term."""
        return tuple(term.source for term in self.terms)

    def apply(self, *values: Tensor) -> Tensor:
        """The sum of the terms, plus the bias."""
        total = sum(
            (term.operator.mv(x) for term, x in zip(self.terms, values, strict=True)),
            start=torch.zeros((), dtype=torch.float64, device=values[0].device),
        )
        return total if self.bias is None else total + self.bias


@dataclass(frozen=True, eq=False)
class Concat(Node):
    """Blocks of different sources laid end to end: `(A_1 s_1, ..., A_m s_m) + bias`, `bias_radius` as above."""

    terms: tuple[Term, ...]
    bias: Tensor | None
    parameters: int
    bias_radius: Tensor | None = None

    @property
    def sources(self) -> tuple[Node, ...]:
        """One source a block."""
        return tuple(term.source for term in self.terms)

    def apply(self, *values: Tensor) -> Tensor:
        """The blocks end to end, plus the bias."""
        blocks = [term.operator.mv(x) for term, x in zip(self.terms, values, strict=True)]
        joined = torch.cat(blocks, dim=1)
        return joined if self.bias is None else joined + self.bias


@dataclass(frozen=True, eq=False)
class Activation(Node):
    """An elementwise function."""

    source: Node
    scalar: Scalar

    @property
    def sources(self) -> tuple[Node, ...]:
        return (self.source,)

    def apply(self, *values: Tensor) -> Tensor:
        """The function, entry by entry."""
        return self.scalar.function(values[0])


@dataclass(frozen=True, eq=False)
class Partials:
    """Derivatives of a map that mixes the entries of groups, and no others: `index` is `(groups, n)`, flat positions.

    `entries` of `lower <= x <= upper`, flat, are the ends, `(groups, n, n)`, of every d y_i / d x_j.
    """

    index: Tensor
    entries: Callable[[Tensor, Tensor], Ends]


@dataclass(frozen=True, eq=False)
class Nonlinear(Node):
    """A map with known Lipschitz constants: pooling, softmax, a normalisation layer, a maximum.

    `constants` hold on the whole space; `local`, where there is one, gives those on `lower <= x <= upper`.
    The values of a softmax come in rows of `simplex` entries that add up to one; 0 for any other map. Every value is
    the largest of some entries where `extreme` is 1, the smallest where it is -1; `windows` `(k, m)`, where there are
    any, has the positions of those entries for each value. `partials`, where they are known, are its derivatives.
    """

    source: Node
    function: Function
    constants: Constants
    kind: Kind
    enclosure: Enclosure
    local: Callable[[Tensor, Tensor], Constants] | None = None
    simplex: int = 0
    extreme: int = 0
    windows: Tensor | None = None
    partials: Partials | None = None

    @property
    def sources(self) -> tuple[Node, ...]:
        """The one vector that the map reads."""
        return (self.source,)

    def apply(self, *values: Tensor) -> Tensor:
        """The map on a flat batch."""
        return self.function(values[0])

    def range(self, lower: Tensor, upper: Tensor) -> Ends:
        """Entrywise enclosure of the values over `lower <= x <= upper`, flat vectors."""
        return self.enclosure(self.function, lower, upper)


def nondecreasing(function: Function, lower: Tensor, upper: Tensor) -> Ends:
    """The enclosure of a function that falls in no entry of its argument and selects rather than computes."""
    ends = function(torch.stack([lower, upper]))
    return ends[0], ends[1]


@dataclass(frozen=True, eq=False)
class Change(Node):
    """`left - right`, the same function at two arguments that differ by `change`.

    Elementwise it is d * change with d among the function's difference quotients (Paulsen et al., ReluDiff, ICSE
    2020); extremes of entries move by no more than those, and anything else by its constant times the change.
    """

    left: Activation | Nonlinear
    right: Activation | Nonlinear
    change: Node

    @property
    def sources(self) -> tuple[Node, ...]:
        """Both arguments, both values, and how far the arguments are apart."""
        return self.left.source, self.right.source, self.left, self.right, self.change

    def apply(self, *values: Tensor) -> Tensor:
        """How far the values are apart."""
        return values[2] - values[3]


@dataclass(frozen=True, eq=False)
class Network:
    """A function from `(B, n)` to `(B, m)`; `nodes` is in topological order, the output last."""

    nodes: tuple[Node, ...]

    @property
    def input(self) -> Node:
        """The node that stands for the model's inputs."""
        return self.nodes[0]

    @property
    def output(self) -> Node:
        """The node that stands for the model's outputs, laid end to end."""
        return self.nodes[-1]

    def __call__(self, x: Tensor) -> Tensor:
        """Evaluate a batch of flat inputs, `(B, n)` -> `(B, m)`, differentiable, float64."""
        values: dict[Node, Tensor] = {self.input: x}
        remaining = _reader_counts(self.nodes)
        for node in self.nodes[1:]:
            values[node] = node.apply(*(values[source] for source in node.sources))
            for source in node.sources:
                remaining[source] -= 1
                if not remaining[source]:
                    del values[source]  # large feature maps must not pile up
        return values[self.output]


def _reader_counts(nodes: tuple[Node, ...]) -> dict[Node, int]:
    counts = dict.fromkeys(nodes, 0)
    for node in nodes:
        for source in node.sources:
            counts[source] += 1
    return counts
