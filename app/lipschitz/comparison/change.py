"""The difference of two networks as a network of its own, in which differences are carried from layer to layer.

Where layers correspond, delta_k = W delta_(k-1) + (W - W') h'_(k-1) + b - b', and an activation that both apply makes
it d delta_k with d among the difference quotients on the joint range (`Change`): ReluDiff (Paulsen et al., ICSE
2020), NeuroDiff (Paulsen et al., ASE 2020), VeryDiff (Teuber et al., 2025). A product changes by
delta p + q' delta. What does not correspond is subtracted as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx

from ..network.builder import Builder
from ..network.nodes import Activation, Affine, Change, Concat, Node, Nonlinear, Term
from ..network.products import MatrixProduct, Product
from ..network.values import Linear, flat_or_none
from ..operators import algebra
from ..operators.gather import Gather
from ..operators.reshape import Reshape
from ..operators.rounding import UNIT
from .minus import is_same, minus


@dataclass(frozen=True)
class Layer:
    """Where something new comes into the difference: a pair of layers that differ, or that do not correspond."""

    node: Node
    name: str
    corresponds: bool


@dataclass(eq=False)
class Changes:
    """Differences of pairs of nodes; None for a pair whose difference is zero everywhere."""

    builder: Builder
    input: Node
    made_by: Mapping[Node, fx.Node]
    values: Mapping[fx.Node, Any]
    nodes: dict[Node, None] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)
    known: dict[tuple[Node, Node], Node | None] = field(default_factory=dict)

    def of(self, a: Node, b: Node) -> Node | None:
        """The node whose value is a - b."""
        order: list[tuple[Node, Node]] = [(a, b)]
        while order:
            pair = order[-1]
            open_pairs = [one for one in _operands(*pair) if one not in self.known] if pair not in self.known else []
            if open_pairs:
                order += open_pairs
                continue
            order.pop()
            if pair not in self.known:
                self.known[pair] = None if pair[0] is pair[1] else self._by_kind(*pair)
        return self.known[a, b]

    def _by_kind(self, a: Node, b: Node) -> Node | None:
        if isinstance(a, Affine | Concat) and type(a) is type(b):
            return self._of_terms(a, b)
        if len(_operands(a, b)) < len(a.sources):
            return self._apart(a, b)
        if isinstance(a, Activation | Nonlinear) and self._are_twins(a, b):
            return self._function(a, b)
        if isinstance(a, Product) and isinstance(b, Product):
            return self._product(a, b)
        if isinstance(a, MatrixProduct) and isinstance(b, MatrixProduct) and a.sizes == b.sizes:
            return self._product(a, b)
        return self._apart(a, b)

    def _of_terms(self, a: Node, b: Node) -> Node | None:
        if a.shape != b.shape:
            return self._apart(a, b)
        if isinstance(a, Affine) and isinstance(b, Affine) and len(a.terms) == len(b.terms):
            return self._affine(a, b)
        if isinstance(a, Concat) and isinstance(b, Concat) and _blocks(a) == _blocks(b):
            return self._concat(a, b)
        return self._apart(a, b)

    def _affine(self, a: Affine, b: Affine) -> Node | None:
        terms: list[Term] = []
        for left, right in zip(a.terms, b.terms, strict=True):
            terms += self._terms(left, right)
        bias, radius = _bias(a, b)
        return self._sum(a, terms, bias, radius)

    def _terms(self, left: Term, right: Term) -> list[Term]:
        """A delta + (A - B) h', or both apart where the operators are not of one form."""
        if left.source.size != right.source.size:
            return [left, Term(right.source, algebra.scale(right.operator, -1.0))]
        delta = self.known[left.source, right.source]
        same = is_same(left.operator, right.operator)
        change = None if same else minus(left.operator, right.operator)
        if not same and change is None:
            return [left, Term(right.source, algebra.scale(right.operator, -1.0))]
        terms = [] if delta is None else [Term(delta, left.operator)]
        return terms if change is None else [*terms, Term(right.source, change)]

    def _sum(self, a: Node, terms: Sequence[Term], bias: Tensor | None, radius: Tensor | None) -> Node | None:
        if not terms and bias is None and radius is None:
            return None
        is_new = any(term.source not in self.nodes for term in terms) or bias is not None or radius is not None
        terms = terms or [Term(self.input, self._nowhere(a.size))]
        node = self._append(Affine(a.shape, a.origins, tuple(terms), bias, 0, "affine", radius))
        if is_new:
            self.layers.append(Layer(node, _name(a), corresponds=True))
        return node

    def _concat(self, a: Concat, b: Concat) -> Node | None:
        terms: list[Term] = []
        for left, right in zip(a.terms, b.terms, strict=True):
            size = left.operator.out_size
            block = Affine((size,), a.origins, (left,), None, 0, "structural")
            delta = self._sum(block, self._terms(left, right), None, None)
            source = self.input if delta is None else delta
            terms.append(Term(source, self._nowhere(size) if delta is None else Reshape(delta.shape, (size,))))
        bias, radius = _bias(a, b)
        return self._append(Concat(a.shape, a.origins, tuple(terms), bias, 0, radius))

    def _function(self, a: Node, b: Node) -> Node | None:
        assert isinstance(a, Activation | Nonlinear)
        assert isinstance(b, Activation | Nonlinear)
        delta = self.known[a.source, b.source]
        return None if delta is None else self._append(Change(a.shape, a.origins, a, b, delta))

    def _product(self, a: Product | MatrixProduct, b: Product | MatrixProduct) -> Node | None:
        """p q - p' q' = (p - p') q + p' (q - q')."""
        left, right = self.known[a.left, b.left], self.known[a.right, b.right]
        parts = [] if left is None else [self._append(_factors(a, left, a.right))]
        parts += [] if right is None else [self._append(_factors(a, b.left, right))]
        terms = tuple(Term(part, Reshape(part.shape, a.shape)) for part in parts)
        return self._append(Affine(a.shape, a.origins, terms, None, 0, "merge")) if terms else None

    def _apart(self, a: Node, b: Node) -> Node:
        keep = Reshape(a.shape, a.shape)
        terms = (Term(a, keep), Term(b, algebra.scale(Reshape(b.shape, a.shape), -1.0)))
        node = self._append(Affine(a.shape, a.origins, terms, None, 0, "merge"))
        self.layers.append(Layer(node, _name(a), corresponds=False))
        return node

    def _are_twins(self, a: Node, b: Node) -> bool:
        """Whether both are one operator with one set of constants, applied to their own sources and nothing else."""
        first, second = self.made_by.get(a), self.made_by.get(b)
        if first is None or second is None:
            return False
        return self._reads_only(first, a) and self._reads_only(second, b) and _are_one_step(first, second)

    def _reads_only(self, step: fx.Node, node: Node) -> bool:
        """Whether what the step reads, beside constants, is the value of the node's source."""
        (source,) = node.sources
        dependent = [self.values[one] for one in _called(step).all_input_nodes]
        dependent = [value for value in dependent if isinstance(value, Linear)]
        return len(dependent) == 1 and self.builder.emit(dependent[0]) is source

    def _nowhere(self, size: int) -> Gather:
        return Gather(self.input.shape, (size,), torch.full((size,), -1))

    def _append(self, node: Node) -> Node:
        self.nodes[node] = None
        return node


def makers(graph: fx.GraphModule, values: Mapping[fx.Node, Any]) -> dict[Node, fx.Node]:
    """The first step whose value a node is, as it is."""
    makers: dict[Node, fx.Node] = {}
    for step in graph.graph.nodes:
        value = values.get(step)
        if isinstance(value, Linear) and value.source not in makers:
            is_plain = isinstance(value.operator, Reshape) and value.bias is None and value.bias_radius is None
            if is_plain:
                makers[value.source] = step
    return makers


def _operands(a: Node, b: Node) -> list[tuple[Node, Node]]:
    """The pairs of one size whose differences this pair's may be made of."""
    if a is b or type(a) is not type(b) or a.shape != b.shape or len(a.sources) != len(b.sources):
        return []
    return [(x, y) for x, y in zip(a.sources, b.sources, strict=True) if x.size == y.size]


def _blocks(node: Concat) -> list[int]:
    return [term.operator.out_size for term in node.terms]


def _called(step: fx.Node) -> fx.Node:
    """The operator of which the step is one result."""
    return step if isinstance(step.target, torch._ops.OpOverload) else step.all_input_nodes[0]


def _are_one_step(a: fx.Node, b: fx.Node) -> bool:
    """The same operator with the same settings and constants, which are one node in a joint graph, on one operand."""
    if (a is _called(a)) != (b is _called(b)) or (a is not _called(a) and a.args[1:] != b.args[1:]):
        return False
    first, second = _called(a), _called(b)
    if first.target is not second.target or len(first.args) != len(second.args):
        return False
    pairs = [*zip(first.args, second.args, strict=True), (dict(first.kwargs), dict(second.kwargs))]
    unequal = [(x, y) for x, y in pairs if x is not y and not (_is_plain(x) and _is_plain(y) and repr(x) == repr(y))]
    return len(unequal) <= 1 and all(isinstance(x, fx.Node) and isinstance(y, fx.Node) for x, y in unequal)


def _is_plain(value: object) -> bool:
    """A setting that holds no node."""
    if isinstance(value, list | tuple):
        return all(_is_plain(one) for one in value)
    if isinstance(value, dict):
        return all(_is_plain(one) for one in value.values())
    return not isinstance(value, fx.Node)


def _factors(like: Product | MatrixProduct, left: Node, right: Node) -> Node:
    if isinstance(like, Product):
        return Product(like.shape, like.origins, left, right)
    return MatrixProduct(like.shape, like.origins, left, right, like.sizes)


def _bias(a: Affine | Concat, b: Affine | Concat) -> tuple[Tensor | None, Tensor | None]:
    """b - b', and how far it may be off: both biases' own errors and the subtraction's."""
    zeros = torch.zeros(a.size, dtype=torch.float64)
    first, second = (zeros if one.bias is None else one.bias for one in (a, b))
    radii = [one.bias_radius for one in (a, b) if one.bias_radius is not None]
    bias = first - second
    radius = sum(radii, start=zeros) + torch.where(bias != 0, 2.0 * UNIT * bias.abs(), 0.0)
    return flat_or_none(bias), flat_or_none(radius * (1.0 + 2.0**-40))


def _name(node: Node) -> str:
    return "+".join(dict.fromkeys(origin.name for origin in node.origins)) or "identity"
