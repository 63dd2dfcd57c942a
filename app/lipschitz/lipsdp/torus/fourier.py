"""LipSDP of a chain of convolutions in the Fourier domain, one multiplier a channel and phase.

On the torus of `chain_of` everything commutes with shifts, and the constraint splits into one complex matrix a
frequency, all with the same rho and multipliers; conjugate frequencies give the same condition. A complex neuron is
two real columns of one multiplier. The constraint is that of [F19] (`system`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from ...network.nodes import Activation
from ...operators.base import Shape
from ..system import Block, System
from .chain import Layer, Slopes, channel_slopes, coarse_sides, matrix_side, periods, widths
from .symbols import real_form, symbol_error, symbols


@dataclass(frozen=True, eq=False)
class Chain:
    """A chain on its torus: `sides` and, for every map, its `periods`; `slopes` of every layer's output but the last.

    Map k is scaled by 2^-exponents[k]: rho of a system times 4^exponents[-1] bounds the squared constant. `by_layer`
    gives a whole layer one multiplier.
    """

    layers: tuple[Layer, ...]
    sides: Shape
    periods: tuple[Shape, ...]
    slopes: tuple[Slopes, ...]
    exponents: tuple[int, ...]
    by_layer: bool = False

    @classmethod
    def of(
        cls,
        layers: Sequence[Layer],
        slopes: Mapping[Activation, Slopes],
        norms: Sequence[float],
        *,
        by_layer: bool = False,
    ) -> Chain:
        """The chain of `layers` on the smallest torus; `norms` are those of the convolutions, about."""
        slopes_ = tuple(channel_slopes(layer, slopes) for layer in layers[:-1])
        factors = [norm * slope for norm, slope in zip(norms, [*map(steepest, slopes_), 1.0], strict=True)]
        exponents = accumulate((math.frexp(factor)[1] for factor in factors), initial=0)
        return cls(tuple(layers), coarse_sides(layers), tuple(periods(layers)), slopes_, tuple(exponents), by_layer)

    @cached_property
    def widths(self) -> list[int]:
        """Channels times phases of every map, input and output included."""
        return widths(self.layers)

    @property
    def side(self) -> int:
        """Side of the real matrix of one frequency."""
        return matrix_side(self.layers)

    @property
    def ranges(self) -> list[slice]:
        """Where each layer's neurons lie, real and imaginary parts together."""
        ends = accumulate((2 * width for width in self.widths[1:-1]), initial=0)
        return [slice(a, b) for a, b in pairwise(ends)]

    def system(self, frequencies: Tensor) -> System:
        """The coupled system of some frequencies `(F, d)`."""
        blocks, first = [], 0
        for k, place in enumerate(self.ranges):
            blocks.append(Block(place.start, first, *self._map(k, frequencies)))
            first = 2 * self.widths[0] + place.start
        last, error = self._map(len(self.layers) - 1, frequencies)
        output = torch.zeros(*last.shape[:2], self.side, dtype=last.dtype, device=last.device)
        output[:, :, first:] = last
        lower, upper = (torch.cat([self._spread(k, end) for k in range(len(self.slopes))])[None] for end in (0, 1))
        inputs = 2 * self.widths[0]
        return System(inputs, tuple(blocks), output, lower, upper, self.groups, error, coupled=True)

    def _map(self, k: int, frequencies: Tensor) -> tuple[Tensor, float]:
        """Layer k's real matrices between scaled maps, and their error."""
        convolution = self.layers[k].convolution
        scale = 2.0 ** (self.exponents[k] - self.exponents[k + 1])
        symbol = symbols(convolution, frequencies, self.sides, self.periods[k + 1])
        return real_form(symbol) * scale, symbol_error(convolution) * scale

    def _spread(self, k: int, end: int) -> Tensor:
        """One end of the channels' slopes for every column of layer k."""
        return self.slopes[k][end].repeat_interleave(math.prod(self.periods[k + 1])).repeat(2)

    @cached_property
    def groups(self) -> Tensor:
        """Real and imaginary part share a multiplier, or a whole layer does."""
        counts, device = self.widths[1:-1], self.layers[0].convolution.device
        if self.by_layer:
            parts = [torch.full((2 * count,), k, device=device) for k, count in enumerate(counts)]
        else:
            starts = accumulate(counts, initial=0)
            parts = [torch.arange(a, a + n, device=device).repeat(2) for a, n in zip(starts, counts, strict=False)]
        return torch.cat(parts)


def steepest(slopes: Slopes) -> float:
    """The largest magnitude among slopes that lie about 0."""
    return float(torch.maximum(-slopes[0], slopes[1]).max())
