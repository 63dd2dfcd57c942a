"""Regions without room, checked in integers: the affine maps of fixed phases, made here from the stored weights.

Float64 numbers are integers over powers of two, and products and sums of them stay so. A map that was computed in
floating point is known to within an error only, and proves nothing here.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from torch import Tensor

from ..domain import Ball, Box, Domain
from ..network.nodes import Activation, Affine, Concat, Node, Term
from .balls import Array
from .fields import InvalidCertificate
from .matrices import array, matrix
from .ramps import Ramps

Integers = Any
"""An array of Python integers."""
Sides = np.ndarray[Any, np.dtype[np.int8]]
"""Of every neuron, activations in topological order: 1 above its kink, -1 below, 0 where no split has said so."""
KEPT = 1024
"""Affine maps of nodes kept for other leaves with the same phases so far."""


@dataclass(frozen=True, eq=False)
class Scaled:
    """`entries` / 2^`shift`, exactly."""

    entries: Integers
    shift: int

    def lifted(self, shift: int) -> Integers:
        """The entries over a larger power of two."""
        return self.entries * (1 << (shift - self.shift))


@dataclass(eq=False)
class Regions:
    """The open sets of the domain on which neurons have given sides; `ramps` has the network's neurons."""

    start: Node
    domain: Domain
    ramps: Ramps
    _stored: dict[Term, Scaled] = field(default_factory=dict)
    _known: OrderedDict[tuple[Node, bytes], Scaled] = field(default_factory=OrderedDict)

    def empty(self, sides: Sides, rows: Sequence[int]) -> bool:
        """Whether no open set of the domain meets the conditions named: 0 to n - 1 the least values of the inputs, n to
        2 n - 1 their largest, and from there the side of each neuron.

        Each says that an affine function is positive but where it is zero throughout. There is no such set if a sum of
        them with weights >= 0 has no linear part and a constant that is negative, or that is zero while one of those
        in use does vary (Motzkin). The weights are the one combination of these rows that leaves no linear part.
        """
        if not rows or len(set(rows)) < len(rows) or len(rows) > self.start.size + 1:
            return False
        functions = [self._condition(sides, row) for row in rows]
        weights = combination([function[:-1] for function in functions])
        if weights is None or not any(weights) or min(weights) < 0:
            return False
        total = sum(weight * function[-1] for weight, function in zip(weights, functions, strict=True))
        varies = any(weight and any(function[:-1]) for weight, function in zip(weights, functions, strict=True))
        return total < 0 or (total == 0 and varies)

    def _condition(self, sides: Sides, row: int) -> list[int]:
        """A condition as integers of (x, 1), up to a positive factor."""
        n = self.start.size
        if row < 2 * n:
            return _border(self.domain, n, row)
        neuron = row - 2 * n
        if neuron >= len(sides) or not sides[neuron]:
            raise InvalidCertificate(f"row {row} names a neuron that is not split on the way")
        activation, position = self.ramps.place(neuron)
        argument = self._of(activation.source, sides).entries[position]
        return [int(sides[neuron]) * int(entry) for entry in argument]

    def _of(self, node: Node, sides: Sides) -> Scaled:
        """The node's value as a function of (x, 1): `(size, n + 1)`."""
        key = node, sides[: self.ramps.before(node)].tobytes()
        if key not in self._known:
            self._known[key] = self._found(node, sides)
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        return self._known[key]

    def _found(self, node: Node, sides: Sides) -> Scaled:
        if node is self.start:
            return Scaled(np.eye(node.size, node.size + 1, dtype=object), 0)
        if isinstance(node, Activation):
            return self._activated(node, sides)
        if not isinstance(node, Affine | Concat):
            raise InvalidCertificate(f"a node of type {type(node).__name__} has no affine map")
        if node.bias_radius is not None and bool((node.bias_radius != 0.0).any()):
            raise InvalidCertificate("a bias was computed in floating point: no region is proved empty")
        parts = [self._term(term, sides) for term in node.terms]
        return _shifted(_joined(parts) if isinstance(node, Concat) else _summed(parts), node.bias)

    def _term(self, term: Term, sides: Sides) -> Scaled:
        if term not in self._stored:
            product = matrix(term.operator)
            if product.radius.any():
                raise InvalidCertificate("weights were computed in floating point: no region is proved empty")
            self._stored[term] = _scaled(product.middle)
        stored, inner = self._stored[term], self._of(term.source, sides)
        return Scaled(stored.entries @ inner.entries, stored.shift + inner.shift)

    def _activated(self, node: Activation, sides: Sides) -> Scaled:
        """The lines through the origin that the neurons' sides choose."""
        first = self.ramps.first(node)
        own = sides[first : first + node.size]
        if not own.all():
            raise InvalidCertificate("a row reads a neuron that is not split on the way")
        slopes = _scaled(np.where(own > 0, *(self.ramps.slopes[node][side] for side in (1, -1))))
        inner = self._of(node.source, sides)
        return Scaled(inner.entries * slopes.entries[:, None], inner.shift + slopes.shift)


def _summed(parts: Sequence[Scaled]) -> Scaled:
    shift = max(part.shift for part in parts)
    total = parts[0].lifted(shift)
    for part in parts[1:]:
        total = total + part.lifted(shift)
    return Scaled(total, shift)


def _joined(parts: Sequence[Scaled]) -> Scaled:
    shift = max(part.shift for part in parts)
    return Scaled(np.concatenate([part.lifted(shift) for part in parts]), shift)


def _shifted(linear: Scaled, bias: Tensor | None) -> Scaled:
    """The bias added to the constants."""
    if bias is None:
        return linear
    constants = _scaled(array(bias))
    shift = max(linear.shift, constants.shift)
    entries = linear.lifted(shift).copy()
    entries[:, -1] += constants.lifted(shift)
    return Scaled(entries, shift)


def _scaled(numbers: Array) -> Scaled:
    """Over the least power of two that makes all entries integers; InvalidCertificate where one is not finite."""
    if not np.isfinite(numbers).all():
        raise InvalidCertificate("the network has a number that is not finite")
    ratios = [float(number).as_integer_ratio() for number in numbers.ravel()]
    shift = max((bottom.bit_length() - 1 for _, bottom in ratios), default=0)
    entries = np.empty(len(ratios), dtype=object)
    entries[:] = [top << (shift - bottom.bit_length() + 1) for top, bottom in ratios]
    return Scaled(entries.reshape(numbers.shape), shift)


def _border(domain: Domain, size: int, row: int) -> list[int]:
    """x_j - least > 0, or largest - x_j > 0, on the domain or the box around it."""
    upper, coordinate = divmod(row, size)
    if isinstance(domain, Box):
        end = _exact((domain.upper if upper else domain.lower).expand(size)[coordinate])
    elif isinstance(domain, Ball):
        middle, radius = _exact(domain.center.expand(size)[coordinate]), Fraction(domain.radius)
        end = middle + radius if upper else middle - radius
    else:
        raise InvalidCertificate(f"row {row} names a border, and the domain has none")
    sign = -1 if upper else 1
    border = [0] * (size + 1)
    border[coordinate], border[-1] = sign * end.denominator, -sign * end.numerator
    return border


def _exact(number: Tensor) -> Fraction:
    value = float(number)
    if not math.isfinite(value):
        raise InvalidCertificate("the domain is not bounded there")
    return Fraction(value)


def combination(rows: Sequence[Sequence[int]]) -> list[int] | None:
    """The weights, up to a positive factor and as non-negative as a sign makes them, with sum_i weight_i row_i = 0.

    None unless they are unique up to a factor. Elimination without fractions on (rows, unit matrix).
    """
    count, width = len(rows), len(rows[0])
    table = [[*row, *(int(i == j) for j in range(count))] for i, row in enumerate(rows)]
    rank = 0
    for column in range(width):
        pivot = next((i for i in range(rank, count) if table[i][column]), None)
        if pivot is None:
            continue
        table[rank], table[pivot] = table[pivot], table[rank]
        top = table[rank]
        for i in range(rank + 1, count):
            if table[i][column]:
                reduced = [top[column] * b - table[i][column] * a for a, b in zip(top, table[i], strict=True)]
                table[i] = _primitive(reduced)
        rank += 1
    if rank != count - 1:
        return None
    weights = table[-1][width:]
    return weights if any(weight > 0 for weight in weights) else [-weight for weight in weights]


def _primitive(row: list[int]) -> list[int]:
    """The row over its entries' greatest common divisor."""
    common = math.gcd(*row)
    return [entry // common for entry in row] if common > 1 else row
