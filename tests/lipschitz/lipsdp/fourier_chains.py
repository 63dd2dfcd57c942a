"""Chains of convolutions for tests: drawn by hypothesis, with their cyclic counterparts as dense matrices."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor

from app.lipschitz.lipsdp.torus.chain import Layer
from app.lipschitz.network.nodes import Activation, Affine, Input, Node, Term
from app.lipschitz.network.scalars.rectifiers import relu
from app.lipschitz.operators.convolution import Convolution
from tests.lipschitz.operators.convolutions import convolution


@dataclass(frozen=True)
class Drawn:
    """The nodes of a chain, input first, and the slopes of its activations."""

    nodes: list[Node]
    slopes: dict[Activation, tuple[Tensor, Tensor]]

    @property
    def convolutions(self) -> list[Convolution]:
        return [node.terms[0].operator for node in self.nodes if isinstance(node, Affine)]


def chain(convolutions: list[Convolution], lower: float = 0.0, upper: float = 1.0) -> Drawn:
    """Convolutions with activations of uniform slopes between."""
    nodes: list[Node] = [Input(convolutions[0].in_shape, ())]
    slopes = {}
    for c in convolutions:
        if len(nodes) > 1:
            nodes.append(Activation(c.in_shape, (), nodes[-1], relu()))
            size = nodes[-1].size
            slopes[nodes[-1]] = tuple(torch.full((size,), end, dtype=torch.float64) for end in (lower, upper))
        nodes.append(Affine(c.out_shape, (), (Term(nodes[-1], c),), None, 0, "affine"))
    return Drawn(nodes, slopes)


@st.composite
def chains(draw: st.DrawFn, dimensions: int) -> Drawn:
    """Two or three convolutions with any strides, paddings, dilations and groups, on maps of a few points."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    spatial = tuple(draw(st.integers(3, 9 if dimensions == 1 else 5)) for _ in range(dimensions))
    channels, found = draw(st.integers(1, 2)), []
    for _ in range(draw(st.integers(2, 3))):
        groups = draw(st.sampled_from([g for g in (1, 2) if channels % g == 0]))
        dilation = tuple(draw(st.integers(1, 2)) for _ in range(dimensions))
        taps = tuple(draw(st.integers(1, 3)) for _ in range(dimensions))
        stride = tuple(draw(st.integers(1, 2)) for _ in range(dimensions))
        least = [max(0, d * (k - 1) + 1 - n) for d, k, n in zip(dilation, taps, spatial, strict=True)]
        padding = tuple((low, draw(st.integers(0, 2))) for low in (n + draw(st.integers(0, 1)) for n in least))
        outs = draw(st.integers(1, 2)) * groups
        kernel = torch.randn(outs, channels // groups, *taps, dtype=torch.float64, generator=generator)
        settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        found.append(convolution(spatial, kernel, **settings))
        spatial, channels = found[-1].out_shape[2:], outs
    return chain(found, *draw(st.sampled_from([(0.0, 1.0), (0.2, 1.0), (-0.13, 1.13), (-1.0, 0.0)])))


def cyclic(c: Convolution, sides: tuple[int, ...]) -> Tensor:
    """The dense cyclic convolution from a torus of `sides`, `(C_out, *sides / stride, C_in, *sides)`."""
    outs = tuple(side // s for side, s in zip(sides, c.stride, strict=True))
    dense = torch.zeros(c.kernel.shape[0], *outs, c.in_shape[1], *sides, dtype=torch.float64)
    per_group = c.kernel.shape[0] // c.groups
    for o, i in itertools.product(range(c.kernel.shape[0]), range(c.kernel.shape[1])):
        source = o // per_group * c.kernel.shape[1] + i
        for j, t in itertools.product(itertools.product(*map(range, outs)), itertools.product(*map(range, c.taps))):
            settings = zip(j, t, c.stride, c.dilation, c.padding, sides, strict=True)
            read = tuple((s * a + d * b - pad[0]) % n for a, b, s, d, pad, n in settings)
            dense[(o, *j, source, *read)] += c.kernel[(o, i, *t)]
    return dense


def layers(drawn: Drawn) -> list[Layer]:
    """What `chain_of` should find."""
    activations = [*drawn.slopes, None]
    return [Layer(c, a) for c, a in zip(drawn.convolutions, activations, strict=True)]
