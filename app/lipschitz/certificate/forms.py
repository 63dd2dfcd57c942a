"""Every node of a piece as a linear function of the piece's start and of its free neurons, in matrices of any kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..network.nodes import Activation, Affine, Concat, Node
from ..operators.base import LinearOperator
from .balls import OUTWARD, Array, Ball
from .matrices import check_entries, matrix

Positions = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Slopes:
    """Ranges of an activation's difference quotients, `(n,)` each, and the positions of the free neurons, `(k,)`.

    The other neurons count as linear maps, known but for the width of their ranges.
    """

    lower: Array
    upper: Array
    free: Positions


class Matrix(Protocol):
    """What forms are made of: matrices with what is known of their rounding."""

    def __matmul__(self, other: Self, /) -> Self:
        """The product."""

    def __add__(self, other: Self, /) -> Self:
        """The sum."""


M = TypeVar("M", bound=Matrix)
Form = dict[Node, M | None]
"""A linear function: the sum of the matrices times their bases; None is the identity."""


@dataclass(frozen=True, eq=False)
class Forms(ABC, Generic[M]):
    """The forms of the nodes after `start`."""

    start: Node
    slopes: Mapping[Activation, Slopes]
    _known: dict[Node, Form[M]] = field(default_factory=dict)

    @abstractmethod
    def matrix(self, operator: LinearOperator) -> M:
        """The operator's matrix; TooLarge where it would not fit, as in the others."""

    @abstractmethod
    def identity(self, size: int) -> M:
        """The unit matrix."""

    @abstractmethod
    def placed(self, positions: Positions, size: int) -> M:
        """A short vector's entries at these positions of a long one."""

    @abstractmethod
    def padded(self, part: M, first: int, size: int) -> M:
        """The matrix as rows `first, first + 1, ...` of one with `size` rows."""

    @abstractmethod
    def times_range(self, inner: M, lower: Array, upper: Array) -> M:
        """diag(s) times the matrix, for all s in the range."""

    def of(self, node: Node) -> Form[M]:
        """The node's value, biases left out."""
        if node not in self._known:
            self._known[node] = self._form(node)
        return self._known[node]

    def _form(self, node: Node) -> Form[M]:
        if node is self.start:
            return {node: None}
        if isinstance(node, Affine):
            return _sum([self._after(self.matrix(term.operator), term.source) for term in node.terms])
        if isinstance(node, Concat):
            return self._concatenated(node)
        assert isinstance(node, Activation), type(node).__name__
        return self._activation(node)

    def _after(self, outer: M, source: Node) -> dict[Node, M]:
        return {base: outer if inner is None else outer @ inner for base, inner in self.of(source).items()}

    def _concatenated(self, node: Concat) -> Form[M]:
        forms, first = [], 0
        for term in node.terms:
            part = self.padded(self.matrix(term.operator), first, node.size)
            forms.append(self._after(part, term.source))
            first += term.operator.out_size
        return _sum(forms)

    def _activation(self, node: Activation) -> Form[M]:
        """Free neurons are variables; the others count as linear, their slope known but for the width of its range."""
        slopes = self.slopes[node]
        free = slopes.free
        if len(free) == node.size:
            return {node: None}
        own: dict[Node, M] = {node: self.placed(free, node.size)} if len(free) else {}
        lower, upper = slopes.lower.copy(), slopes.upper.copy()
        lower[free] = upper[free] = 0.0
        if own and not (lower.any() or upper.any()):
            return {**own}
        dense = {base: self.identity(node.size) if m is None else m for base, m in self.of(node.source).items()}
        return _sum([own, {base: self.times_range(inner, lower, upper) for base, inner in dense.items()}])


class BallForms(Forms[Ball]):
    """In explicit matrices."""

    def matrix(self, operator: LinearOperator) -> Ball:
        return matrix(operator)

    def identity(self, size: int) -> Ball:
        return identity(size)

    def placed(self, positions: Positions, size: int) -> Ball:
        """Columns of the unit matrix."""
        check_entries(size * len(positions))
        placed = np.zeros((size, len(positions)))
        placed[positions, np.arange(len(positions))] = 1.0
        return Ball.exact(placed)

    def padded(self, part: Ball, first: int, size: int) -> Ball:
        """Rows of zeros around."""
        above = (first, size - first - len(part.middle))
        return Ball(np.pad(part.middle, (above, (0, 0))), np.pad(part.radius, (above, (0, 0))))

    def times_range(self, inner: Ball, lower: Array, upper: Array) -> Ball:
        """The middle of the range, and half its width as radius."""
        centre = (lower + upper) / 2.0
        reach = np.maximum(upper - centre, centre - lower) * OUTWARD
        scaled = inner.scaled_rows(centre)
        return Ball(scaled.middle, scaled.radius + reach[:, None] * inner.magnitude * OUTWARD)


def identity(size: int) -> Ball:
    """The unit matrix; TooLarge where it would not fit."""
    check_entries(size * size)
    return Ball.exact(np.eye(size))


def _sum(forms: list[dict[Node, M]]) -> Form[M]:
    total: dict[Node, M] = {}
    for form in forms:
        for base, inner in form.items():
            total[base] = total[base] + inner if base in total else inner
    return {**total}
