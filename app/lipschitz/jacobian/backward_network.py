"""The network read backwards: how a row of the Jacobian moves from the output to the input.

With g_v = c^T d f / d v for a row c, g_v is the sum over v's readers of g_reader times their derivative: an affine map
gives its adjoint, an activation a factor in its range of slopes, a product the other factor, and layers that mix their
entries the ranges of their derivatives. So the g_v are the values of a network of their own, whose input is c, and all
that bounds values of networks bounds the Jacobian (RecurJac: Zhang et al., AAAI 2019).

What is bounded is any matrix with f(x) - f(y) = J (x - y) for x, y in the domain that chains of difference quotients
make, and so every derivative, one-sided and generalised ones too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import singledispatchmethod

import torch
from torch import Tensor

from ..network.intervals import Interval
from ..network.nodes import Activation, Affine, Change, Concat, Input, Network, Node, Nonlinear, Term
from ..network.products import MatrixProduct, Product
from ..operators.adjoint import adjoint
from ..operators.algebra import compose
from ..operators.base import LinearOperator
from ..operators.diagonal import Diagonal
from ..operators.gather import Gather
from ..operators.reshape import Reshape
from .factor import Factor
from .leaves import Known, Spread

MOST_PARTIALS = 2**22
"""Most entries of the derivatives of a layer that mixes its entries; with more, its constants count."""


def read_backwards(network: Network, ranges: Mapping[Node, Interval]) -> Network:
    """The network of the rows; its output is the row of the input's derivatives.

    Derivatives hold for values in `ranges`.
    """
    return _Reading(network, ranges).run()


@dataclass(eq=False)
class _Reading:
    network: Network
    ranges: Mapping[Node, Interval]
    nodes: list[Node] = field(default_factory=list)

    def run(self) -> Network:
        """One node after another, from the output on."""
        start = Input((self.network.output.size,), ())
        self.nodes = [start]
        parts: dict[Node, list[Term]] = {node: [] for node in self.network.nodes}
        parts[self.network.output] = [Term(start, _same(start))]
        for node in reversed(self.network.nodes[1:]):
            if parts[node]:
                row = self._sum(node, parts.pop(node))
                for source, term in self._through(node, row):
                    parts[source].append(term)
        first = self.network.input
        last = parts[first] or [Term(start, Gather((start.size,), (first.size,), torch.full((first.size,), -1)))]
        self._append(self._affine(first, last))
        return Network(tuple(self.nodes))

    def _append(self, node: Node) -> Node:
        self.nodes.append(node)
        return node

    def _sum(self, node: Node, terms: list[Term]) -> Node:
        """The row at a node: the one that came, or a node that adds those of several readers."""
        if len(terms) == 1 and isinstance(terms[0].operator, Reshape):
            return terms[0].source
        return self._append(self._affine(node, terms))

    def _affine(self, node: Node, terms: list[Term]) -> Affine:
        return Affine((node.size,), node.origins, tuple(terms), None, 0, "affine")

    def _factor(self, node: Node, row: Node, least: Tensor, most: Tensor) -> Node:
        return self._append(Activation((row.size,), node.origins, row, Factor.between(least, most)))

    @singledispatchmethod
    def _through(self, node: Node, row: Node) -> Iterator[tuple[Node, Term]]:
        raise NotImplementedError(type(node).__name__)

    @_through.register
    def _(self, node: Affine, row: Node) -> Iterator[tuple[Node, Term]]:
        for term in node.terms:
            yield term.source, Term(row, adjoint(term.operator))

    @_through.register
    def _(self, node: Concat, row: Node) -> Iterator[tuple[Node, Term]]:
        first = 0
        for term in node.terms:
            size = term.operator.out_size
            block = Gather((row.size,), (size,), torch.arange(first, first + size))
            yield term.source, Term(row, compose(adjoint(term.operator), block))
            first += size

    @_through.register
    def _(self, node: Activation, row: Node) -> Iterator[tuple[Node, Term]]:
        source = self.ranges[node.source]
        own = self._factor(node, row, *node.scalar.slopes(source.lower, source.upper))
        yield node.source, Term(own, _same(own))

    @_through.register
    def _(self, node: Product, row: Node) -> Iterator[tuple[Node, Term]]:
        for source, other in ((node.left, node.right), (node.right, node.left)):
            own = self._factor(node, row, self.ranges[other].lower, self.ranges[other].upper)
            yield source, Term(own, _same(own))

    @_through.register
    def _(self, node: Change, row: Node) -> Iterator[tuple[Node, Term]]:
        minus = Diagonal((row.size,), (row.size,), -torch.ones(1, dtype=torch.float64))
        yield node.left, Term(row, _same(row))
        yield node.right, Term(row, minus)

    @_through.register
    def _(self, node: MatrixProduct, row: Node) -> Iterator[tuple[Node, Term]]:
        """The rows G of the product make G B^T those of the left factor, and A^T G those of the right."""
        b, n, k, m = node.sizes
        right = self._known(node, _permuted(self.ranges[node.right], (b, k, m)))
        own = self._append(MatrixProduct((b, n, k), node.origins, row, right, (b, n, m, k)))
        yield node.left, Term(own, _same(own))
        left = self._known(node, _permuted(self.ranges[node.left], (b, n, k)))
        own = self._append(MatrixProduct((b, k, m), node.origins, left, row, (b, k, n, m)))
        yield node.right, Term(own, _same(own))

    @_through.register
    def _(self, node: Nonlinear, row: Node) -> Iterator[tuple[Node, Term]]:
        partials, source = node.partials, self.ranges[node.source]
        if partials is None or partials.index.numel() * partials.index.shape[1] > MOST_PARTIALS:
            yield node.source, self._spread(node, row)
            return
        groups, n = partials.index.shape
        lower, upper = partials.entries(source.lower, source.upper)
        entries = self._known(node, Interval(lower.flatten(), upper.flatten()))
        places = partials.index.flatten()
        grouped = self._affine(node, [Term(row, Gather((row.size,), (row.size,), places))])
        self._append(grouped)
        own = self._append(MatrixProduct((groups, 1, n), node.origins, grouped, entries, (groups, 1, n, n)))
        yield node.source, Term(own, Gather((own.size,), (own.size,), torch.argsort(places)))

    def _spread(self, node: Nonlinear, row: Node) -> Term:
        """A map of which only its constants are known."""
        source = self.ranges[node.source]
        constants = dict(node.constants)
        if node.local is not None:
            local = node.local(source.lower, source.upper)
            constants = {p: min(constants[p], local[p]) for p in constants}
        own = self._append(Spread((node.source.size,), node.origins, row, constants))
        return Term(own, _same(own))

    def _known(self, node: Node, values: Interval) -> Node:
        return self._append(Known((len(values.lower),), node.origins, values))


def _same(node: Node) -> LinearOperator:
    return Reshape((node.size,), (node.size,))


def _permuted(values: Interval, shape: tuple[int, int, int]) -> Interval:
    """Matrices `(b, n, k)` transposed."""
    lower, upper = (end.reshape(shape).mT.flatten() for end in (values.lower, values.upper))
    return Interval(lower, upper)
