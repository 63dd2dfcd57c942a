"""A zero-padded convolution as part of a convolution on a torus, in polyphase form.

One dimension, n inputs, taps t = 0..k-1, output j reads p = s j + d t - lo. Let
lo' = min(lo, d(k-1)), hi' = min(hi, d(k-1)) and let the torus have N >= n + max(lo', hi') points, s | N.

Claim: dropping zero rows, A is a submatrix of the circular operator T: R^N -> R^(N/s) with the same taps.
 1. A row that reads at least one real input has p in [-d(k-1), n-1+d(k-1)], and always p in [-lo, n-1+hi];
    so all its p lie in [-lo', n-1+hi']. The other rows are zero and do not change any norm.
 2. Such a p is below N, since N >= n + hi'; if p < 0 then p + N is in [n, N), since N >= n + lo'. Hence a tap
    on the padding never reads a real point of the torus. Distinct taps of a row never meet on a real point:
    of two congruent p at most one is in [0, n), and the other, outside it, is not congruent to a real point.
    Restricted to the n real columns, the rows of T are those of A.
 3. Rows are distinct: the non-zero ones are consecutive j with s j - lo in [-lo', n-1+hi'-d(k-1)], an
    interval of at most n points as min(lo', hi') <= d(k-1) and N >= n + max(lo', hi') bounds its length by N;
    so there are at most N/s of them, distinct modulo N/s.
Therefore ||A|| <= ||T||, in any number of dimensions. The offset lo shifts T by a permutation: it drops out.

Polyphase: with q = s a + r, T becomes a stride-1 convolution on Z_(N/s) with C_in s channels (c, r) and taps
at a = floor(d t / s), r = d t mod s. When s = 1 and d | N, T splits into d equal copies on Z_(N/d) with
dilation 1. Either way a kernel with consecutive taps on a torus of `sides` remains.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .base import Shape
from .convolution import Convolution


class TorusConvolution(NamedTuple):
    """Stride-1 circular convolution: `kernel` `(g, C_out/g, channels, *taps)` on the group Z_sides.

    Its channels are those of (C_in/g, *stride), flattened, that some tap reads: `used`, out of `channels`.
    """

    kernel: Tensor
    sides: Shape
    used: Tensor
    channels: int

    @property
    def taps(self) -> Shape:
        """Number of taps per dimension."""
        return tuple(self.kernel.shape[3:])


def _side(n: int, k: int, stride: int, padding: tuple[int, int], dilation: int) -> int:
    reach = dilation * (k - 1)
    overhang = max(min(pad, reach) for pad in padding)
    return math.ceil((n + overhang) / (dilation if stride == 1 else stride))


def _polyphase(kernel: Tensor, dim: int, stride: int, dilation: int) -> Tensor:
    """Splits tap dimension `dim` into (phase, tap); the phase is appended as a last dimension."""
    k = kernel.shape[dim]
    taps = dilation * (k - 1) // stride + 1
    shape = list(kernel.shape)
    shape[dim] = taps
    split = kernel.new_zeros(*shape, stride)
    for t in range(k):
        a, r = divmod(dilation * t, stride)
        split.select(dim, a)[..., r] = kernel.select(dim, t)
    return split


def embed(convolution: Convolution) -> TorusConvolution:
    """The circular convolution whose norm bounds that of `convolution` (see the module's claim)."""
    c = convolution
    settings = zip(c.in_shape[2:], c.taps, c.stride, c.padding, c.dilation, strict=True)
    sides = tuple(_side(*dim) for dim in settings)
    kernel = c.kernel.reshape(c.groups, -1, c.kernel.shape[1], *c.taps)
    for dim, (stride, dilation) in enumerate(zip(c.stride, c.dilation, strict=True)):
        kernel = _polyphase(kernel, 3 + dim, stride, 1 if stride == 1 else dilation)
    d = len(c.taps)
    taps = tuple(kernel.shape[3 : 3 + d])
    # (g, o, c, *taps, *phases) -> (g, o, c, *phases, *taps)
    order = (0, 1, 2, *range(3 + d, 3 + 2 * d), *range(3, 3 + d))
    kernel = kernel.permute(order).reshape(*kernel.shape[:2], -1, *taps)
    used = torch.nonzero(kernel.transpose(0, 2).flatten(1).any(1)).squeeze(1)
    return TorusConvolution(kernel[:, :, used], sides, used, kernel.shape[2])
