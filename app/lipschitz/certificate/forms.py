"""Every node of a piece as a linear function of the piece's start and of its free neurons, in explicit matrices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from app.lipschitz.certificate.balls import OUTWARD, Array, Ball
from app.lipschitz.certificate.matrices import check_entries, matrix
from app.lipschitz.network.nodes import Activation, Affine, Concat, Node

Form = dict[Node, Ball | None]
"""A linear function: the sum of the matrices times their bases; None is the identity."""


@dataclass(frozen=True, eq=False)
class Slopes:
    """Ranges of an activation's difference quotients, `(n,)` each, and the positions of the free neurons, `(k,)`.

    The other neurons count as linear maps, known but for the width of their ranges.
    """

    lower: Array
    upper: Array
    free: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Forms:
    """The forms of the nodes after `start`."""

    start: Node
    slopes: Mapping[Activation, Slopes]
    _known: dict[Node, Form] = field(default_factory=dict)

    def of(self, node: Node) -> Form:
        """The node's value, biases left out."""
        if node not in self._known:
            self._known[node] = self._found(node)
        return self._known[node]

    def _found(self, node: Node) -> Form:
        if node is self.start:
            return {node: None}
        if isinstance(node, Affine):
            return _sum([_after(matrix(term.operator), self.of(term.source)) for term in node.terms])
        if isinstance(node, Concat):
            return self._concatenated(node)
        assert isinstance(node, Activation), type(node).__name__
        return self._activation(node)

    def _concatenated(self, node: Concat) -> Form:
        forms, first = [], 0
        for term in node.terms:
            part = matrix(term.operator)
            forms.append(_after(_padded(part, first, node.size), self.of(term.source)))
            first += len(part.middle)
        return _sum(forms)

    def _activation(self, node: Activation) -> Form:
        slopes = self.slopes[node]
        free = slopes.free
        if len(free) == node.size:
            return {node: None}
        own: Form = {node: _placed(free, node.size)} if len(free) else {}
        lower, upper = slopes.lower.copy(), slopes.upper.copy()
        lower[free] = upper[free] = 0.0
        if own and not (lower.any() or upper.any()):
            return own
        inner = self.of(node.source).items()
        return _sum([own, {base: _times_range(lower, upper, _dense(m, node.size)) for base, m in inner}])


def _times_range(lower: Array, upper: Array, inner: Ball) -> Ball:
    """diag(s) times the matrix, for all s in the range."""
    centre = (lower + upper) / 2.0
    reach = np.maximum(upper - centre, centre - lower) * OUTWARD
    found = inner.scaled_rows(centre)
    return Ball(found.middle, found.radius + reach[:, None] * inner.magnitude * OUTWARD)


def identity(size: int) -> Ball:
    """The unit matrix; TooLarge where it would not fit."""
    check_entries(size * size)
    return Ball.exact(np.eye(size))


def _placed(positions: NDArray[np.intp], size: int) -> Ball:
    """A short vector's entries at these positions of a long one."""
    check_entries(size * len(positions))
    placed = np.zeros((size, len(positions)))
    placed[positions, np.arange(len(positions))] = 1.0
    return Ball.exact(placed)


def _padded(part: Ball, first: int, size: int) -> Ball:
    """The matrix as rows `first, first + 1, ...` of one with `size` rows."""
    above = (first, size - first - len(part.middle))
    return Ball(np.pad(part.middle, (above, (0, 0))), np.pad(part.radius, (above, (0, 0))))


def _dense(found: Ball | None, size: int) -> Ball:
    return identity(size) if found is None else found


def _after(outer: Ball, form: Form) -> Form:
    return {base: outer if inner is None else outer @ inner for base, inner in form.items()}


def _sum(forms: list[Form]) -> Form:
    total: Form = {}
    for form in forms:
        for base, found in form.items():
            known = total.get(base)
            total[base] = found if known is None or found is None else known + found
    return total
