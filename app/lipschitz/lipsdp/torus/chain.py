"""Chains of convolutions and elementwise activations, and the torus that holds all their feature maps.

Claim: let layer k = 1..K read maps of n_(k-1) points a side with padding (lo, hi) and stride s_k, and let the map
after layer k lie on the first n_k points of a cycle of N_k, with N_(k-1) = s_k N_k, N_(k-1) >= n_(k-1) + max(lo, hi)
and N_K >= n_K. Then for slopes [a, b], widened to contain 0, every difference of two trajectories of the chain is
one of the chain of cyclic convolutions T_k y[j] = sum_t kernel[t] x[(s j + d t - lo) mod N_(k-1)], ends included:
 1. Output j of the zero-padded convolution reads p = s j + d t - lo in [-lo, n + hi), n = n_(k-1). Where p lies
    outside [0, n), so does p mod N_(k-1), as N >= n + max(lo, hi): a negative p becomes p + N >= n, others stay < N.
    So T_k x agrees with the convolution at j < n_k <= N_k, whatever the padding, for x that vanish outside the map.
 2. At the other points of the cycle T_k x may be anything, but there the slope 0 gives the neuron no difference;
    it belongs to the interval, and the neurons' differences vanish outside the map, as (1) needs.
 3. The last map has no activation: the chain's output is part of the cyclic one's, so its norm is no larger.
In several dimensions the same holds for each. A stride leaves out points of T with stride 1, which changes nothing
above; a convolution that directly follows another has slope 1 on the map and 0 elsewhere: the interval [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ...network.nodes import Activation, Affine, Node
from ...operators.base import LinearOperator, Shape
from ...operators.composite import Composed
from ...operators.convolution import Convolution
from ...operators.reshape import Reshape

Slopes = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Layer:
    """A convolution, and the activation that its output goes through: None at the end or before another convolution."""

    convolution: Convolution
    activation: Activation | None = None


def chain_of(nodes: Sequence[Node]) -> list[Layer] | None:
    """The layers of a piece that is a chain of convolutions with activations between; None for any other."""
    layers: list[Layer] = []
    source = None
    for node in nodes:
        if source is not None and node.sources != (source,):
            return None
        source = node
        if isinstance(node, Activation) and layers and layers[-1].activation is None:
            layers[-1] = Layer(layers[-1].convolution, node)
        elif isinstance(node, Affine) and len(node.terms) == 1:
            convolutions = _convolutions(node.terms[0].operator)
            if convolutions is None:
                return None
            layers += [Layer(convolution) for convolution in convolutions]
        else:
            return None
    return layers if _is_chain(layers) else None


def is_link(node: Node) -> bool:
    """Whether the node could be part of a chain."""
    if isinstance(node, Affine) and len(node.terms) == 1:
        return _convolutions(node.terms[0].operator) is not None
    return isinstance(node, Activation)


def _convolutions(operator: LinearOperator) -> list[Convolution] | None:
    """Innermost first; reshapes between them rename a flat vector and say nothing else."""
    parts = operator.parts if isinstance(operator, Composed) else (operator,)
    kept = [part for part in reversed(parts) if not isinstance(part, Reshape)]
    convolutions = [part for part in kept if isinstance(part, Convolution)]
    return convolutions if len(convolutions) == len(kept) else None


def _is_chain(layers: Sequence[Layer]) -> bool:
    """At least one activation between two convolutions, none at the end, and every map read in the shape it has."""
    if len(layers) < 2 or layers[-1].activation is not None or all(layer.activation is None for layer in layers):
        return False
    return all(one.convolution.out_shape == two.convolution.in_shape for one, two in pairwise(layers))


def coarse_sides(layers: Sequence[Layer]) -> Shape:
    """N_K of the claim, the smallest one, for each dimension."""
    last = layers[-1].convolution
    sides = list(last.out_shape[2:])
    period = [1] * len(sides)
    for layer in reversed(layers):
        c = layer.convolution
        period = [p * s for p, s in zip(period, c.stride, strict=True)]
        needed = [n + max(padding) for n, padding in zip(c.in_shape[2:], c.padding, strict=True)]
        sides = [max(side, math.ceil(n / p)) for side, n, p in zip(sides, needed, period, strict=True)]
    return tuple(sides)


def periods(layers: Sequence[Layer]) -> list[Shape]:
    """N_k / N_K for every map, k = 0..K: how many points of the map share a coarse one, for each dimension."""
    periods = [(1,) * len(layers[-1].convolution.stride)]
    for layer in reversed(layers):
        periods.append(tuple(p * s for p, s in zip(periods[-1], layer.convolution.stride, strict=True)))
    return periods[::-1]


def widths(layers: Sequence[Layer]) -> list[int]:
    """Channels times phases of every map, k = 0..K."""
    channels = [layers[0].convolution.in_shape[1], *(layer.convolution.out_shape[1] for layer in layers)]
    return [c * math.prod(period) for c, period in zip(channels, periods(layers), strict=True)]


def matrix_side(layers: Sequence[Layer]) -> int:
    """Side of the real matrix of one frequency: real and imaginary parts of all maps but the last."""
    return 2 * sum(widths(layers)[:-1])


def channel_slopes(layer: Layer, slopes: Mapping[Activation, Slopes]) -> Slopes:
    """The hull of every channel's slopes and 0, `(C,)` each."""
    images, channels = layer.convolution.out_shape[:2]
    if layer.activation is None:
        like = layer.convolution.kernel
        return like.new_zeros(channels), like.new_ones(channels)
    lower, upper = (ends.reshape(images, channels, -1) for ends in slopes[layer.activation])
    return lower.amin((0, 2)).clamp(max=0.0), upper.amax((0, 2)).clamp(min=0.0)


def half_frequencies(sides: Shape, device: torch.device | None = None) -> Tensor:
    """One of every pair w, -w of the torus's frequencies, `(F, d)`: their matrices are conjugate."""
    axes = [torch.arange(side, device=device) for side in sides]
    grid = torch.stack([axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij")], 1)
    weights = torch.tensor([math.prod(sides[d + 1 :]) for d in range(len(sides))], device=device)
    mirrored = -grid % torch.tensor(sides, device=device)
    return grid[(grid * weights).sum(1) <= (mirrored * weights).sum(1)]
