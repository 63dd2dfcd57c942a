"""AutoLip's walk through a network: one Lipschitz constant a node, from the input to the output.

`L_k = sum_j ||A_j|| L_j` for affine nodes, the slope for activations, the p-norm of the blocks for
concatenations ([VS18] Algorithm 1). All arithmetic on the constants rounds up, so the walk is as certified as
the norms that it is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch
from types import MappingProxyType

import torch
from torch import Tensor

from ..bounds.local import Local
from ..errors import NotGloballyLipschitz
from ..network.nodes import Activation, Affine, Concat, Input, Network, Node, Nonlinear, Term
from ..network.products import MatrixProduct, Product
from ..operators import algebra
from ..operators.base import LinearOperator
from ..operators.norm import Norm
from ..operators.reshape import Reshape
from ..operators.rounding import TINY, up_add, up_hypot, up_mul, up_sum
from .attention import attention_ways
from .ways import Way

RULED = (Affine, Concat, Activation, Nonlinear)
"""Nodes whose rule needs no more than norms of linear maps and constants of the nodes: a certificate can repeat it."""

OUTWARD = 1.0 + 2.0**-50
"""Covers the rounding of a hypotenuse or a sum of two."""

OperatorNorm = Callable[[LinearOperator], float]
Shortcuts = Mapping[Node, Way]
"""By an activation that only one affine map reads: the way to that map's value from further back, with its constant."""


@dataclass(frozen=True)
class Branch:
    """One way into a node: the constant of the map from `source` (None for a nonlinear node) and its flow."""

    source: Node
    operator: LinearOperator | None
    factor: float
    contribution: float


@dataclass(frozen=True)
class Step:
    """One node of the walk: `cumulative` is its constant L_k, `branches` how it came about."""

    node: Node
    cumulative: float
    branches: tuple[Branch, ...]


def walk(
    network: Network,
    p: Norm,
    norm: OperatorNorm,
    local: Local | None = None,
    shortcuts: Shortcuts = MappingProxyType({}),
) -> list[Step]:
    """All steps in topological order, the input (constant 1) first and the output last.

    `local` knows the domain; without it the constants hold on the whole space. A shortcut is taken where it
    gives less.
    """
    known = local or Local(network)
    constants: dict[Node, float] = {}
    steps: list[Step] = []
    for node in network.nodes:
        ways: Sequence[Way] = ways_in(node, p, norm, known)
        if isinstance(node, MatrixProduct) and p == "2":
            ways = attention_ways(node, ways, known, constants)
        if isinstance(node, Affine | Concat):
            ways = [_shortest(way, shortcuts, constants) for way in ways]
        branches = [
            Branch(way.source, way.operator, way.factor, up_mul(way.factor, constants[way.source])) for way in ways
        ]
        constants[node] = 1.0 if isinstance(node, Input) else combine(node, p, branches)
        steps.append(Step(node, constants[node], tuple(branches)))
    return steps


def _shortest(way: Way, shortcuts: Shortcuts, constants: Mapping[Node, float]) -> Way:
    """The way itself, or the one from further back if less comes in by it."""
    ways = [way, shortcuts.get(way.source, way)]
    return min(ways, key=lambda one: up_mul(one.factor, constants[one.source]))


@singledispatch
def ways_in(node: Node, p: Norm, norm: OperatorNorm, local: Local) -> list[Way]:
    """The ways into a node with the constant of each."""
    raise NotImplementedError(type(node).__name__)


@ways_in.register
def _(node: Input, p: Norm, norm: OperatorNorm, local: Local) -> list[Way]:
    return []


@ways_in.register
def _(node: Affine, p: Norm, norm: OperatorNorm, local: Local) -> list[Way]:
    return [_affine_way(term, norm, local) for term in node.terms]


@ways_in.register
def _(node: Concat, p: Norm, norm: OperatorNorm, local: Local) -> list[Way]:
    stacked = {source: algebra.stack(blocks) for source, blocks in _blocks_by_source(node.terms).items()}
    return [Way(source, operator, norm(operator)) for source, operator in stacked.items()]


@ways_in.register
def _(node: Activation, p: Norm, norm: OperatorNorm, local: Local) -> list[Way]:
    constant = _finite(local.slope(node).magnitude, node, local)
    if not local.bounded:
        return [Way(node.source, None, constant)]
    return [_weighted(node, node.source, local.weights(node), norm, local)]


@ways_in.register
def _(node: Nonlinear, p: Norm, norm: OperatorNorm, local: Local) -> list[Way]:
    return [Way(node.source, None, _finite(local.constant(node, p), node, local))]


@ways_in.register
def _(node: Product, p: Norm, norm: OperatorNorm, local: Local) -> list[Way]:
    """d(a b) = b da + a db; with both factors affine in one node also by the norm of [diag(b) diag(a)]."""
    left, right = local.magnitudes(node.left), local.magnitudes(node.right)
    _finite(float(torch.maximum(left, right).max()), node, local)
    ways = [
        _weighted(node, node.left, right, norm, local),
        _weighted(node, node.right, left, norm, local),
    ]
    return _shorter(node, ways, _outward(pair_norm(left, right, p).max()), norm, local)


@ways_in.register
def _(node: MatrixProduct, p: Norm, norm: OperatorNorm, local: Local) -> list[Way]:
    left, right = (_finite(constant, node, local) for constant in local.sides(node, p))
    ways = [Way(node.left, None, left), Way(node.right, None, right)]
    both = pair_norm(torch.tensor(left, dtype=torch.float64), torch.tensor(right, dtype=torch.float64), p)
    return _shorter(node, ways, _outward(both), norm, local)


def pair_norm(a: Tensor, b: Tensor, p: Norm) -> Tensor:
    """The p-norm of the row [a b], for a, b >= 0."""
    return {"1": torch.maximum(a, b), "2": torch.hypot(a, b), "inf": a + b}[p]


def _outward(length: Tensor) -> float:
    """Covers what a hypotenuse or a sum loses, among subnormal numbers too."""
    return up_mul(up_add(float(length), TINY), OUTWARD) if bool(length > 0.0) else 0.0


def _affine_way(term: Term, norm: OperatorNorm, local: Local) -> Way:
    """Entries of the source that cannot vary on the domain do not count."""
    operators = [term.operator, local.narrowed(term.operator, term.source)]
    best = min(operators, key=norm)
    return Way(term.source, best, norm(best))


def _weighted(node: Node, source: Node, weights: Tensor, norm: OperatorNorm, local: Local) -> Way:
    """Entry i of `source` counts `weights_i` at most; where `source` is affine they are folded into its norm."""
    largest = float(weights.max())
    if not isinstance(source, Affine) or len(source.terms) > 1:
        return Way(source, None, largest)
    (term,) = source.terms
    plain = _affine_way(term, norm, local)
    folded = local.weighted(weights, local.narrowed(term.operator, term.source), (node, source))
    if folded is None or norm(folded) >= up_mul(largest, plain.factor):
        return Way(source, None, largest)
    return Way(term.source, None, norm(folded))


def _shorter(node: Node, ways: list[Way], both: float, norm: OperatorNorm, local: Local) -> list[Way]:
    """One way from the node that both factors are affine in, where that gives less than the two ways do."""
    (a, left), (b, right) = (_root(source) for source in node.sources)
    stacked = local.stacked(left, right, node) if a is b else None
    if stacked is None:
        return ways
    factor = up_mul(both, norm(stacked))
    apart = up_sum([up_mul(way.factor, 1.0 if way.source is a else norm(_root(way.source)[1])) for way in ways])
    return [Way(a, None, factor)] if factor < apart else ways


def _root(node: Node) -> tuple[Node, LinearOperator]:
    """The node that this one is an affine function of, itself at worst, with the linear part."""
    if isinstance(node, Affine) and len(node.terms) == 1:
        return node.terms[0].source, node.terms[0].operator
    return node, Reshape(node.shape, node.shape)


def _finite(constant: float, node: Node, local: Local) -> float:
    if math.isfinite(constant):
        return constant
    raise no_constant(node, local)


def no_constant(node: Node, local: Local) -> NotGloballyLipschitz:
    """The refusal of a node that is steep without bound as far as its intervals tell."""
    (origin,) = node.origins
    place = f"{origin.op} at '{origin.name}'"
    if not local.bounded:
        return NotGloballyLipschitz(
            f"{place} has no finite Lipschitz constant on the whole space; "
            "a constant may exist on a bounded domain (box or ball)"
        )
    ends = [local.intervals[source] for source in node.sources]
    least, most = min(float(end.lower.min()) for end in ends), max(float(end.upper.max()) for end in ends)
    return NotGloballyLipschitz(
        f"{place} has no finite Lipschitz constant for arguments between {least:.4g} and {most:.4g}, "
        "the range that interval arithmetic gives on this domain; a smaller domain may help"
    )


def _blocks_by_source(terms: Sequence[Term]) -> dict[Node, list[LinearOperator]]:
    blocks: dict[Node, list[LinearOperator]] = {}
    for term in terms:
        blocks.setdefault(term.source, []).append(term.operator)
    return blocks


def combine(node: Node, p: Norm, branches: Sequence[Branch]) -> float:
    """A node's constant from its branches': added up, or the p-norm of disjoint blocks."""
    flows = [branch.contribution for branch in branches]
    if not isinstance(node, Concat) or p == "1":
        return up_sum(flows)
    return max(flows) if p == "inf" else up_hypot(flows)
