"""LipSDP of a chain of convolutions in the Fourier domain, one multiplier a channel and phase.

On the torus of `fourier_chain` everything commutes with shifts, and the constraint splits into one complex matrix a
frequency, all with the same rho and multipliers; conjugate frequencies give the same condition. A complex neuron is
two real columns of one multiplier. See `math.md`'s idea: Fourier LipSDP after [F19], masks as slopes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from app.lipschitz.network.nodes import Activation
from app.lipschitz.operators.base import Shape
from app.lipschitz.sdp.fourier_chain import Layer, Slopes, channel_slopes, coarse_sides, periods
from app.lipschitz.sdp.fourier_symbols import real_form, symbol_error, symbols
from app.lipschitz.sdp.system import Block, System


@dataclass(frozen=True, eq=False)
class Chain:
    """A chain on its torus: `sides` and, for every map, its `periods`; `slopes` of every layer's output but the last.

    Map k is scaled by 2^-exponents[k]: rho of a system times 4^exponents[-1] bounds the squared constant.
    """

    layers: tuple[Layer, ...]
    sides: Shape
    periods: tuple[Shape, ...]
    slopes: tuple[Slopes, ...]
    exponents: tuple[int, ...]

    @classmethod
    def of(cls, layers: Sequence[Layer], slopes: Mapping[Activation, Slopes], norms: Sequence[float]) -> Chain:
        """The chain of `layers` on the smallest torus; `norms` are those of the convolutions, about."""
        found = [channel_slopes(layer, slopes) for layer in layers[:-1]]
        steepest = [float(torch.maximum(-low, high).max()) for low, high in found]
        factors = [norm * slope for norm, slope in zip(norms, [*steepest, 1.0], strict=True)]
        exponents = accumulate((math.frexp(factor)[1] for factor in factors), initial=0)
        return cls(tuple(layers), coarse_sides(layers), tuple(periods(layers)), tuple(found), tuple(exponents))

    @property
    def widths(self) -> list[int]:
        """Channels times phases of every map, input and output included."""
        first = self.layers[0].convolution.in_shape[1]
        channels = [first, *(layer.convolution.out_shape[1] for layer in self.layers)]
        return [c * math.prod(period) for c, period in zip(channels, self.periods, strict=True)]

    @property
    def side(self) -> int:
        """Side of the real matrix of one frequency."""
        return 2 * sum(self.widths[:-1])

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
        return System(inputs, tuple(blocks), output, lower, upper, self._groups(last.device), error, coupled=True)

    def _map(self, k: int, frequencies: Tensor) -> tuple[Tensor, float]:
        """Layer k's real matrices between scaled maps, and their error."""
        convolution = self.layers[k].convolution
        scale = 2.0 ** (self.exponents[k] - self.exponents[k + 1])
        found = symbols(convolution, frequencies, self.sides, self.periods[k + 1])
        return real_form(found) * scale, symbol_error(convolution) * scale

    def _spread(self, k: int, end: int) -> Tensor:
        """One end of the channels' slopes for every column of layer k."""
        return self.slopes[k][end].repeat_interleave(math.prod(self.periods[k + 1])).repeat(2)

    def _groups(self, device: torch.device) -> Tensor:
        """Real and imaginary part share a multiplier."""
        widths = self.widths[1:-1]
        starts = accumulate(widths, initial=0)
        parts = [torch.arange(a, a + n, device=device).repeat(2) for a, n in zip(starts, widths, strict=False)]
        return torch.cat(parts)
