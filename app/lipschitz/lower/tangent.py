"""J_beta(x) v: the network's derivative along v with smoothed gates, differentiable in x and v.

A ReLU's slope jumps at 0, so the norm of J(x) v is constant on polytopes and has no gradient to follow. Here a slope
that jumps at a knot k changes with sigmoid(beta (z - k) / s) instead, s the mean of |z| over the layer's inputs; other
functions give their difference quotient over a width s / beta. As beta grows, J_beta tends to J. Values z are the
network's own, not smoothed ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..network.nodes import Activation, Affine, Concat, Network, Node, Nonlinear
from ..network.products import MatrixProduct, Product
from ..network.scalar import PiecewiseMonotone, Scalar

TINY = torch.finfo(torch.float64).tiny


def tangent(network: Network, x: Tensor, v: Tensor, beta: Tensor) -> Tensor:
    """J_beta(x) v for points and directions `(B, n)` -> `(B, m)`."""
    values, tangents = {network.input: x}, {network.input: v}
    last_reads = _last_reads(network)
    for position, node in enumerate(network.nodes[1:], 1):
        read = [values[source] for source in node.sources]
        tangents[node] = _pushed(node, read, [tangents[source] for source in node.sources], beta)
        if node is not network.output:
            values[node] = node.apply(*read)
        for source in last_reads.get(position, ()):
            del values[source], tangents[source]
    return tangents[network.output]


def _last_reads(network: Network) -> dict[int, list[Node]]:
    """By position: the nodes that are read there for the last time."""
    last = {source: position for position, node in enumerate(network.nodes) for source in node.sources}
    reads: dict[int, list[Node]] = {}
    for source, position in last.items():
        reads.setdefault(position, []).append(source)
    return reads


def _pushed(node: Node, values: list[Tensor], tangents: list[Tensor], beta: Tensor) -> Tensor:
    """The node's tangent from its sources' values and tangents."""
    if isinstance(node, Affine | Concat):
        parts = [term.operator.mv(one) for term, one in zip(node.terms, tangents, strict=True)]
        return torch.cat(parts, 1) if isinstance(node, Concat) else torch.stack(parts).sum(0)
    if isinstance(node, Activation):
        return _gates(node.scalar, values[0], beta) * tangents[0]
    if isinstance(node, Product | MatrixProduct):
        return node.apply(tangents[0], values[1]) + node.apply(values[0], tangents[1])
    assert isinstance(node, Nonlinear)
    return _along(node, values[0], tangents[0], beta)


def _gates(scalar: Scalar, z: Tensor, beta: Tensor) -> Tensor:
    """The smoothed slopes at z."""
    spread = _spread(z)
    if not (isinstance(scalar, PiecewiseMonotone) and scalar.linear):
        width = spread / beta
        return (scalar.function(z + width) - scalar.function(z - width)) / (2.0 * width)
    slopes = torch.zeros_like(z) + scalar.limits[0].lower
    for knot in scalar.knots:
        if knot.right is not None:
            jump = knot.right.lower - knot.left.lower
            slopes = slopes + jump * torch.sigmoid((z - knot.place.at) * (beta / spread))
    return slopes


def _along(node: Nonlinear, z: Tensor, t: Tensor, beta: Tensor) -> Tensor:
    """The map's difference quotient along its tangent, over as wide a step."""
    step = _spread(z) / beta / t.detach().square().mean(1, keepdim=True).sqrt().clamp(min=TINY)
    return (node.apply(z + step * t) - node.apply(z - step * t)) / (2.0 * step)


def _spread(z: Tensor) -> Tensor:
    """The mean of |z| in every row, `(B, 1)`."""
    return z.detach().abs().mean(1, keepdim=True).clamp(min=1e-100)
