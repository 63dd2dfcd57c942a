"""Zero-padded convolutions (correlations, as the frameworks call them) in one, two and three dimensions."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from .base import LinearOperator, Shape
from .weights import largest_sum, require_finite

Padding = tuple[tuple[int, int], ...]


def output_side(n: int, k: int, stride: int, padding: tuple[int, int], dilation: int) -> int:
    """Number of outputs along one dimension of n inputs under a kernel of k taps."""
    return (n + sum(padding) - dilation * (k - 1) - 1) // stride + 1


@dataclass(frozen=True, eq=False)
class Convolution(LinearOperator):
    """y[o, j] = sum_{c, t} kernel[o, c, t] x[c, stride j + dilation t - lo], zero outside the input.

    Shapes: input `(N, C_in, *spatial)`, output `(N, C_out, *spatial')`, kernel `(C_out, C_in/groups, *k)`;
    `stride` and `dilation` hold one integer, `padding` one pair (lo, hi) >= 0 per spatial dimension.
    The transposed convolution is `Adjoint(Convolution)`. ValueError when the shapes disagree.
    """

    kernel: Tensor
    stride: tuple[int, ...]
    padding: Padding
    dilation: tuple[int, ...]
    groups: int = 1
    error: float = 0.0

    def __post_init__(self) -> None:
        require_finite(self.kernel, "Convolution")
        n, c_in, *spatial = self.in_shape
        c_out, c_group, *taps = self.kernel.shape
        settings = zip(spatial, taps, self.stride, self.padding, self.dilation, strict=True)
        expected = (n, c_out, *(output_side(*dim) for dim in settings))
        if c_in != c_group * self.groups or c_out % self.groups or self.out_shape != expected:
            kernel = f"kernel {tuple(self.kernel.shape)} in {self.groups} groups"
            raise ValueError(f"{kernel}: {self.in_shape} -> {self.out_shape}, expected {expected}")
        if min(expected) < 1 or min((0, *(side for pair in self.padding for side in pair))) < 0:
            raise ValueError(f"empty output {expected} or negative padding {self.padding}")

    @property
    def taps(self) -> Shape:
        """Kernel sides, one per spatial dimension."""
        return tuple(self.kernel.shape[2:])

    @property
    def device(self) -> torch.device:
        """Where the kernel lives."""
        return self.kernel.device

    @property
    def depth(self) -> int:
        """Length of the longer inner product, and one more where a library sums partial results."""
        channels = max(self.kernel.shape[1], self.kernel.shape[0] // self.groups)
        return channels * math.prod(self.taps) + 1

    def absolute_sums(self) -> tuple[float, float]:
        """Sums of |kernel| over all taps, as if no tap fell on the padding or between the strides."""
        grouped = self.kernel.reshape(self.groups, -1, self.kernel.shape[1], math.prod(self.taps))
        return largest_sum(grouped, (1, 3)), largest_sum(grouped, (2, 3))

    def mv(self, x: Tensor) -> Tensor:
        """`(B, n)` -> `(B, m)`."""
        images = pad(x.reshape(-1, *self.in_shape[1:]), self._flat_padding())
        zeros = [0] * len(self.stride)
        y = torch.convolution(images, self.kernel, None, self.stride, zeros, self.dilation, False, zeros, self.groups)
        return y.reshape(x.shape[0], -1)

    def rmv(self, y: Tensor) -> Tensor:
        """`(B, m)` -> `(B, n)`: the transposed convolution, cropped to the unpadded input."""
        maps = y.reshape(-1, *self.out_shape[1:])
        zeros = [0] * len(self.stride)
        rest = [
            (n + lo + hi - d * (k - 1) - 1) % s
            for n, (lo, hi), d, k, s in zip(
                self.in_shape[2:], self.padding, self.dilation, self.taps, self.stride, strict=True
            )
        ]
        padded = torch.convolution(maps, self.kernel, None, self.stride, zeros, self.dilation, True, zeros, self.groups)
        # The transposed convolution stops at the last tap; what the stride left unread gets zeros.
        grown = pad(padded, [side for r in reversed(rest) for side in (0, r)])
        return pad(grown, [-side for side in self._flat_padding()]).reshape(y.shape[0], -1)

    def _flat_padding(self) -> list[int]:
        return [side for pair in reversed(self.padding) for side in pair]

    def majorant(self) -> LinearOperator:
        """The kernel of absolute values."""
        return replace(self, kernel=self.kernel.abs(), error=0.0)


def single_image(convolution: Convolution) -> Convolution:
    """The same convolution on one image: the batch repeats it as a block, which changes no operator norm."""
    c = convolution
    return replace(c, in_shape=(1, *c.in_shape[1:]), out_shape=(1, *c.out_shape[1:]))
