"""A cyclic convolution between polyphase maps, as one complex matrix a coarse frequency.

With maps of P_in = s P_out points to a coarse one, y[o, P_out a + r] reads x[c, s (P_out a + r) + d t - lo], which is
phase r' of the coarse point a + b for (b, r') = divmod(s r + d t - lo, P_in). So at frequency w the matrix between
channels and phases is V[(o, r), (c, r')] = sum of kernel[o, c, t] e^(2 pi i w b / N) over the t that lead there.

Rounding: a phase is a product of at most three table entries and is off by less than 100 u; with T taps the real and
the imaginary part of every entry are off by gamma_(T + 128) times the sum of the kernel's magnitudes there. These sums
have the row and column sums of the kernel's own: of the phases r one at most reads a given r' through a given tap.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from ...operators.base import Shape
from ...operators.convolution import Convolution
from ...operators.rounding import gamma, up_mul, up_sqrt


def symbols(convolution: Convolution, frequencies: Tensor, sides: Shape, period: Shape) -> Tensor:
    """The matrices at `(F, d)` frequencies of the torus `sides`, `(F, C_out p, C_in p s)` complex.

    `period` holds P_out for each dimension; channels come first, then phases.
    """
    c = convolution
    kernel = _ungrouped(c).flatten(2)
    read = tuple(p * s for p, s in zip(period, c.stride, strict=True))
    waves = [_waves(side, device=frequencies.device) for side in sides]
    shape = (len(frequencies), kernel.shape[0], math.prod(period), kernel.shape[1], math.prod(read))
    values = torch.zeros(shape, dtype=torch.complex128, device=kernel.device)
    for row, phase in enumerate(_indices(period)):
        for k, tap in enumerate(_indices(c.taps)):
            settings = zip(phase, tap, c.stride, c.dilation, c.padding, read, strict=True)
            steps = [divmod(s * r + d * t - pad[0], p) for r, t, s, d, pad, p in settings]
            turn = _turn(waves, frequencies, tuple(step for step, _ in steps))
            column = _flat(tuple(rest for _, rest in steps), read)
            values[:, :, row, :, column] += turn[:, None, None] * kernel[:, :, k]
    return values.flatten(3).flatten(1, 2)


def _indices(shape: Shape) -> list[Shape]:
    return list(itertools.product(*map(range, shape)))


def symbol_error(convolution: Convolution) -> float:
    """Bound, in the 2-norm, of every computed symbol's distance to the exact one."""
    columns, rows = convolution.absolute_sums()
    return up_mul(2.0 * gamma(math.prod(convolution.taps) + 128), up_sqrt(up_mul(columns, rows)))


def real_form(matrices: Tensor) -> Tensor:
    """Complex `(F, m, n)` as real `(F, 2m, 2n)` that act on real and imaginary parts, one after the other."""
    real, imaginary = matrices.real, matrices.imag
    return torch.cat([torch.cat([real, -imaginary], 2), torch.cat([imaginary, real], 2)], 1)


def _ungrouped(c: Convolution) -> Tensor:
    """The kernel `(C_out, C_in, *taps)`, with zeros between groups."""
    if c.groups == 1:
        return c.kernel
    outs, ins = c.kernel.shape[0] // c.groups, c.kernel.shape[1]
    full = c.kernel.new_zeros(c.kernel.shape[0], ins * c.groups, *c.taps)
    for g in range(c.groups):
        rows = slice(g * outs, (g + 1) * outs)
        full[rows, g * ins : (g + 1) * ins] = c.kernel[rows]
    return full


def _waves(side: int, device: torch.device) -> Tensor:
    """e^(2 pi i j / side) for j = 0..side-1, from the angles nearest to zero."""
    j = torch.arange(side, device=device)
    angle = ((j + side // 2) % side - side // 2).to(torch.float64) / side * (2.0 * math.pi)
    return torch.complex(torch.cos(angle), torch.sin(angle))


def _turn(waves: list[Tensor], frequencies: Tensor, steps: Shape) -> Tensor:
    """e^(2 pi i sum_d w_d b_d / N_d), `(F,)`."""
    total = torch.ones(len(frequencies), dtype=torch.complex128, device=frequencies.device)
    for d, (table, step) in enumerate(zip(waves, steps, strict=True)):
        total = total * table[frequencies[:, d] * step % len(table)]
    return total


def _flat(index: Shape, shape: Shape) -> int:
    place = 0
    for i, n in zip(index, shape, strict=True):
        place = place * n + i
    return place
