"""AutoLip's rule [VS18, Algorithm 1] done again on claimed norms, rounding up, with shortcuts past whole chains.

The slopes of activations and the constants of pooling and normalisation nodes are part of the graph on its domain.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ..network.nodes import Activation, Affine, Concat, Node, Nonlinear
from ..problem import Problem
from .fields import InvalidCertificate

Norms = Mapping[tuple[Node, Node], float]
"""By node and source."""
Shortcuts = Mapping[tuple[Node, Node], tuple[Node, Sequence[float]]]
"""By node and source: a node further back, and factors whose product bounds the map from there on this way."""

MODERATE = 1e150
"""The squares of numbers between its inverse and this are finite, and have all their digits."""


def walked(
    problem: Problem, start: Node, nodes: Sequence[Node], norms: Norms, shortcuts: Shortcuts = MappingProxyType({})
) -> float:
    """The constant from `start` to the last of the nodes; infinite where a norm is missing that no other way avoids."""
    constants = {start: 1.0}
    for node in nodes:
        constants[node] = _step(problem, node, constants, norms, shortcuts)
    return constants[nodes[-1]]


def _step(problem: Problem, node: Node, constants: Mapping[Node, float], norms: Norms, shortcuts: Shortcuts) -> float:
    if isinstance(node, Activation):
        return _activation(problem, node, constants, norms)
    if isinstance(node, Nonlinear):
        return _times(problem.local.constant(node, problem.p), constants[node.source])
    if not isinstance(node, Affine | Concat):
        raise InvalidCertificate(f"AutoLip's rule does not cover a node of type {type(node).__name__}")
    flows = [_flow((node, source), constants, norms, shortcuts) for source in dict.fromkeys(node.sources)]
    return _blocks(flows, problem.p) if isinstance(node, Concat) else _sum(flows)


def _flow(way: tuple[Node, Node], constants: Mapping[Node, float], norms: Norms, shortcuts: Shortcuts) -> float:
    """What comes in from a source: by the norm, or past the chain that ends there where that is less."""
    flows = [_times(norms.get(way, math.inf), constants[way[1]])]
    if way in shortcuts:
        start, factors = shortcuts[way]
        flow = constants[start]
        for factor in factors:
            flow = _times(flow, factor)
        flows.append(flow)
    return min(flows)


def _activation(problem: Problem, node: Activation, constants: Mapping[Node, float], norms: Norms) -> float:
    """By the largest slope, or through the affine map before it with the slopes folded in."""
    best = _times(problem.local.slope(node).magnitude, constants[node.source])
    if isinstance(node.source, Affine) and len(node.source.terms) == 1:
        (source,) = node.source.sources
        if (node, source) in norms and source in constants:
            best = min(best, _times(norms[node, source], constants[source]))
    return best


def _blocks(flows: Sequence[float], p: str) -> float:
    """The p-norm of the flows into disjoint blocks."""
    if p == "inf":
        return max(flows)
    return _sum(flows) if p == "1" else _hypotenuse(flows)


def _hypotenuse(flows: Sequence[float]) -> float:
    """Relative to a power of two near the largest flow where squares would overflow, or vanish."""
    largest = max(flows)
    if not 0.0 < largest < math.inf:
        return largest
    if 1.0 / MODERATE < largest < MODERATE:
        return _up(math.sqrt(_sum([_up(flow * flow) for flow in flows])))
    exponent = math.frexp(largest)[1]
    return _up(math.ldexp(_hypotenuse([_up(math.ldexp(flow, -exponent)) for flow in flows]), exponent))


def _sum(flows: Sequence[float]) -> float:
    total = flows[0]
    for flow in flows[1:]:
        total = _up(total + flow)
    return total


def _times(one: float, other: float) -> float:
    """The product; zero where one factor is, for what does not vary does not vary by any factor."""
    return 0.0 if 0.0 in (one, other) else _up(one * other)


def _up(value: float) -> float:
    return math.nextafter(value, math.inf)
