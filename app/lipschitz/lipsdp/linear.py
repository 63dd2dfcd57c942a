"""Every node of a region as a linear function of the region's start and of the free neurons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..network.nodes import Activation, Affine, Concat, Node
from ..operators import algebra
from ..operators.base import LinearOperator
from ..operators.diagonal import Diagonal
from ..operators.gather import Gather
from ..operators.reshape import Reshape

Form = dict[Node, LinearOperator]
"""A linear function: the sum of the operators applied to their bases."""


@dataclass(frozen=True, eq=False)
class LinearForms:
    """`neurons` holds each activation's free positions and its slopes' ends, which all but agree elsewhere."""

    start: Node
    neurons: Mapping[Activation, tuple[Tensor, Tensor, Tensor]]
    _known: dict[Node, Form] = field(default_factory=dict)

    def of(self, node: Node) -> Form:
        """The node's value, biases left out."""
        if node not in self._known:
            self._known[node] = self._found(node)
        return self._known[node]

    def rows(self, node: Node, positions: Tensor) -> Form:
        """Some entries of a node's value."""
        form = self.of(node)
        if len(positions) == node.size:
            return form
        chosen = Gather((node.size,), (len(positions),), positions)
        return {base: algebra.chain(chosen, operator) for base, operator in form.items()}

    def _found(self, node: Node) -> Form:
        if node is self.start:
            return {node: Reshape(node.shape, node.shape)}
        if isinstance(node, Affine):
            return _sum([_after(term.operator, self.of(term.source)) for term in node.terms])
        if isinstance(node, Concat):
            return self._concatenated(node)
        assert isinstance(node, Activation), type(node).__name__
        return self._activation(node)

    def _concatenated(self, node: Concat) -> Form:
        forms, first = [], 0
        for term in node.terms:
            size = term.operator.out_size
            place = _placed(torch.arange(first, first + size), node.size)
            forms.append(_after(place, _after(term.operator, self.of(term.source))))
            first += size
        return _sum(forms)

    def _activation(self, node: Activation) -> Form:
        """Free neurons are variables; the others multiply by their slope."""
        free, lower, upper = self.neurons[node]
        own: Form = {node: _placed(free, node.size)} if len(free) else {}
        if len(free) == node.size:
            return own
        low, high = lower.clone(), upper.clone()
        low[free] = high[free] = 0.0
        fixed = Diagonal((node.size,), (node.size,), high, error=float((high - low).max()) * (1.0 + 2.0**-50))
        return _sum([own, _after(fixed, self.of(node.source))])


def _placed(positions: Tensor, size: int) -> Gather:
    """The entries of a short vector at these positions of a long one, zeros elsewhere."""
    index = torch.full((size,), -1)
    index[positions] = torch.arange(len(positions))
    return Gather((len(positions),), (size,), index)


def _after(operator: LinearOperator, form: Form) -> Form:
    return {base: algebra.chain(operator, inner) for base, inner in form.items()}


def _sum(forms: list[Form]) -> Form:
    total: Form = {}
    for form in forms:
        for base, operator in form.items():
            total[base] = algebra.add(total[base], operator) if base in total else operator
    return total
