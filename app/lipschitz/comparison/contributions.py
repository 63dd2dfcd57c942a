"""What each layer's change contributes to the difference of two models.

The carried difference is linear in what comes in at each layer, s_k = (W - W') h'_(k-1) + b - b': it is the sum over k
of s_k multiplied by the later layers and by the slopes d that the inputs pick. So with every d in its range the bound
of one layer's part holds for all inputs, and the parts add up to the difference.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import torch

from ..deadline import Deadline, OutOfTime
from ..network.ends import product
from ..network.intervals import Interval, enclose, quotients
from ..network.nodes import Activation, Affine, Change, Concat, Node
from ..operators.norm import Norm
from ..operators.norms import Norms
from ..operators.rounding import up_sum
from .bounds import size
from .change import Layer
from .difference import Difference


@dataclass(frozen=True)
class Contribution:
    """One layer: a bound of ||W - W'||, None where the layers do not correspond or only biases differ; and of its part
    of the difference, infinite where there is none.
    """

    layer: Layer
    change: float | None
    contribution: float


def contributions(
    difference: Difference, ranges: Mapping[Node, Interval], p: Norm, norms: Norms, deadline: Deadline
) -> list[Contribution]:
    """Of every layer that differs, as many as there is time for."""
    parts: list[Contribution] = []
    for layer in difference.layers:
        if deadline.passed:
            break
        parts.append(
            Contribution(layer, _change(difference, layer, p, norms, deadline), _part(difference, layer, ranges, p))
        )
    return parts


def _change(difference: Difference, layer: Layer, p: Norm, norms: Norms, deadline: Deadline) -> float | None:
    node = layer.node
    if not layer.corresponds or not isinstance(node, Affine):
        return None
    new = [term.operator for term in node.terms if term.source not in difference.own]
    try:
        return up_sum([norms.of(operator, p, deadline).upper for operator in new]) if new else None
    except OutOfTime:
        return None


def _part(difference: Difference, layer: Layer, ranges: Mapping[Node, Interval], p: Norm) -> float:
    """Interval arithmetic with this layer's own terms, and none of the others'."""
    parts: dict[Node, Interval] = {}
    for node in difference.carried.nodes:
        if node in difference.own:
            parts[node] = _of(node, parts, ranges, is_source=node is layer.node, own=difference.own)
    return size(parts[difference.carried.output], p)


def _of(
    node: Node,
    parts: Mapping[Node, Interval],
    ranges: Mapping[Node, Interval],
    *,
    is_source: bool,
    own: Collection[Node],
) -> Interval:
    if isinstance(node, Change):
        return _of_change(node, parts[node.change], ranges)
    known = {source: parts.get(source, ranges[source]) for source in node.sources}
    if not isinstance(node, Affine | Concat):
        return enclose(node, *(known[source] for source in node.sources))
    if is_source:
        zeroed = {source: _zeros(source) if source in own else known[source] for source in node.sources}
        return enclose(node, *(zeroed[source] for source in node.sources))
    carried = {source: known[source] if source in own else _zeros(source) for source in node.sources}
    plain = replace(node, bias=None, bias_radius=None)
    return enclose(plain, *(carried[source] for source in node.sources))


def _of_change(node: Change, part: Interval, ranges: Mapping[Node, Interval]) -> Interval:
    """d times the part; for what is no elementwise function its share is not known once there are several."""
    if bool((part.magnitude == 0).all()):
        zeros = torch.zeros(node.size, dtype=torch.float64)
        return Interval(zeros, zeros)
    if isinstance(node.left, Activation):
        slopes = quotients(node, ranges[node.left.source], ranges[node.right.source])
        return Interval(*product(slopes, (part.lower, part.upper)))
    infinite = torch.full((node.size,), torch.inf, dtype=torch.float64)
    return Interval(-infinite, infinite)


def _zeros(node: Node) -> Interval:
    zeros = torch.zeros(node.size, dtype=torch.float64)
    return Interval(zeros, zeros)
