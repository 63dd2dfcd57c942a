"""Certified spectral norm of convolutions through their symbols on a torus.

On the torus of `torus.embed` the Gram operator of the smaller side is a convolution with matrix taps
C_tau = sum_t K_(t+tau) K_t^T, and its symbol at frequency v is the Hermitian matrix
G_v = sum_tau C_tau e^(i theta_v . tau), C_(-tau) = C_tau^T. Then ||A||^2 <= max_v lambda_max(G_v).
Forming C once replaces a Gram product per frequency by a short sum over tau. Every G_v is proved below one
common level (`gram`). Taking all frequencies of the torus gives equality with ||T||; cf. Sedghi, Gupta,
Long (ICLR 2019) for the periodic case, and Delattre et al. (ICML 2023) for the embedding idea.

Rounding: with S = sum_t |K_t|, sum_tau |C_tau| <= S S^T entrywise. Products lose gamma_L, L terms each; the
combinations C_tau +- C_tau^T one rounding; phases are computed from integers modulo the side and are off by
less than 100 u for up to three dimensions; the sum over tau loses gamma_T. Real and imaginary parts are each
off by gamma_(L+T+128) S S^T, so the 2-norm is off by at most 2 gamma ||S||_1 ||S||_inf.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from ..deadline import NEVER, Deadline
from .base import Shape
from .composite import Adjoint
from .convolution import Convolution, single_image
from .dense_norm import Bracket, normalised
from .gram import proved_eigenvalue, ranking, top_pair, verified_level
from .rounding import gamma, up_ldexp, up_mul, up_sqrt, widened
from .torus import embed
from .waves import Mode, wave
from .witness import witnessed

_CHUNK_BYTES = 2**24
"""Symbols held at once; a few copies exist beside them, far below 256 MiB together."""


class _Symbols(NamedTuple):
    """Cosine and sine coefficients `(T, g s s)` of the Gram symbols at offsets tau, on a torus of `sides`."""

    even: Tensor
    odd: Tensor
    offsets: Tensor
    sides: Shape
    groups: int
    side: int


def _half_offsets(taps: Shape) -> list[tuple[int, ...]]:
    """Zero first, then one of each pair tau, -tau."""
    box = itertools.product(*(range(1 - k, k) for k in taps))
    return sorted(tau for tau in box if tau >= (0,) * len(taps))


def _overlap(k: int, tau: int) -> tuple[slice, slice]:
    """Where t + tau and t both lie in 0..k-1."""
    return slice(max(tau, 0), k + min(tau, 0)), slice(max(-tau, 0), k + min(-tau, 0))


def _autocorrelation(kernel: Tensor, tau: tuple[int, ...]) -> Tensor:
    """C_tau `(g, s, s)` for a kernel `(g, s, *taps, l)`: one product over the overlapping taps."""
    pairs = [_overlap(k, shift) for k, shift in zip(kernel.shape[2:-1], tau, strict=True)]
    ahead = kernel[:, :, *(pair[0] for pair in pairs)].flatten(2)
    behind = kernel[:, :, *(pair[1] for pair in pairs)].flatten(2)
    return torch.bmm(ahead, behind.mT)


def _symbols(kernel: Tensor, sides: Shape, deadline: Deadline) -> _Symbols:
    offsets = _half_offsets(tuple(kernel.shape[2:-1]))
    groups, s = kernel.shape[:2]
    even = kernel.new_empty(len(offsets), groups, s, s)
    odd = torch.empty_like(even)
    for k, tau in enumerate(offsets):
        deadline.check()
        c = _autocorrelation(kernel, tau)
        even[k], odd[k] = c + c.mT, c - c.mT
    even[0] /= 2.0
    index = torch.tensor(offsets, dtype=torch.int64, device=kernel.device)
    return _Symbols(even.flatten(1), odd.flatten(1), index, sides, groups, s)


def _phases(offsets: Tensor, frequencies: Tensor, sides: Shape) -> Tensor:
    """e^(i theta) `(F, T)`, theta = 2 pi sum_d v_d tau_d / side_d, from residues nearest to zero."""
    total = torch.ones(frequencies.shape[0], offsets.shape[0], dtype=torch.complex128, device=offsets.device)
    for d, side in enumerate(sides):
        residue = (frequencies[:, d, None] * offsets[None, :, d] + side // 2) % side - side // 2
        angle = residue.to(torch.float64) / side * (2.0 * math.pi)
        total = total * torch.complex(torch.cos(angle), torch.sin(angle))
    return total


def _evaluated(symbols: _Symbols, frequencies: Tensor) -> Tensor:
    """Gram symbols `(F g, s, s)`, complex Hermitian."""
    phases = _phases(symbols.offsets, frequencies, symbols.sides)
    real, imaginary = phases.real @ symbols.even, phases.imag @ symbols.odd
    return torch.complex(real, imaginary).reshape(-1, symbols.side, symbols.side)


def _frequency_chunks(symbols: _Symbols) -> Iterator[Tensor]:
    """All frequencies `(F, d)` up to conjugation, some at a time."""
    sides = (*symbols.sides[:-1], symbols.sides[-1] // 2 + 1)
    size = max(1, _CHUNK_BYTES // (16 * symbols.groups * symbols.side**2))
    device = symbols.offsets.device
    for start in range(0, math.prod(sides), size):
        flat = torch.arange(start, min(start + size, math.prod(sides)), device=device)
        yield torch.stack(torch.unravel_index(flat, sides), dim=1)


def _verified(symbols: _Symbols, deadline: Deadline) -> tuple[float, Tensor]:
    """A level above every symbol, and the chunk of frequencies that raised it last."""
    # The mean of the eigenvalues over all frequencies is trace(C_0) / s, with all taps that share a place on the
    # torus taken together: a start below the largest one.
    sides = torch.tensor(symbols.sides, device=symbols.offsets.device)
    at_zero = (symbols.offsets % sides == 0).all(1)
    c_0 = symbols.even[at_zero].sum(0).reshape(-1, symbols.side, symbols.side)
    level = max(0.0, float(c_0.diagonal(dim1=1, dim2=2).mean(1).max()))
    highest = symbols.offsets[:1]
    for frequencies in _frequency_chunks(symbols):
        deadline.check()
        raised = verified_level(_evaluated(symbols, frequencies), level, deadline)
        if raised > level:
            level, highest = raised, frequencies
    return level, highest


def _mode(symbols: _Symbols, frequencies: Tensor) -> Mode:
    """Near the largest symbol among `frequencies`: its frequency, group and eigenvector."""
    grams = _evaluated(symbols, frequencies)
    block = int(ranking(grams).argmax())
    frequency, group = divmod(block, symbols.groups)
    angles = [2.0 * math.pi * int(v) / n for v, n in zip(frequencies[frequency], symbols.sides, strict=True)]
    return Mode(tuple(angles), group, top_pair(grams[block])[1])


def _majorant_sums(kernel: Tensor) -> tuple[float, float]:
    """Upper bounds of ||S||_1 and ||S||_inf over groups, S = sum_t |K_t|, for `(g, o, c, *taps)`."""
    s = kernel.abs().flatten(3).sum(3)
    terms = math.prod(kernel.shape[1:])
    return widened(float(s.sum(1).max()), terms), widened(float(s.sum(2).max()), terms)


def _smaller_side(kernel: Tensor) -> tuple[Tensor, bool]:
    """`(g, s, *taps, l)` with s <= l, and whether s counts inputs: then taps are reversed, as for A^T."""
    taps = tuple(range(3, kernel.ndim))
    if kernel.shape[1] <= kernel.shape[2]:
        return kernel.permute(0, 1, *taps, 2), False
    return kernel.flip(taps).permute(0, 2, *taps, 1), True


def torus_norm(convolution: Convolution, deadline: Deadline = NEVER, witnessing: Deadline = NEVER) -> Bracket:
    """Certified upper and witnessed lower bound of the 2-norm, whatever the image size.

    The upper bound is at most sqrt(||S||_1 ||S||_inf); equality with the torus holds to about ten digits.
    A single tap (1x1 kernels, patch embeddings) makes all symbols equal, so one frequency suffices. OutOfTime at the
    deadline; the search for a better witness ends when `witnessing` does.
    """
    kernel, exponent = normalised(convolution.kernel)
    if not bool(kernel.any()):
        return Bracket(0.0, 0.0)
    scaled = single_image(replace(convolution, kernel=kernel, error=0.0))
    torus = embed(scaled)
    columns, rows = _majorant_sums(torus.kernel)
    hoelder = up_sqrt(up_mul(columns, rows))
    smaller, on_inputs = _smaller_side(torus.kernel)
    sides = torus.sides if math.prod(torus.taps) > 1 else (1,) * len(torus.sides)
    symbols = _symbols(smaller, sides, deadline)
    level, highest = _verified(symbols, deadline)
    terms = math.prod(smaller.shape[2:]) + len(symbols.offsets) + 128
    error = up_mul(2.0 * gamma(terms), up_mul(columns, rows))
    proved = up_sqrt(proved_eigenvalue(level, symbols.side, error, hermitian=True))
    mode = _mode(symbols, highest)
    if on_inputs:
        amplitude = mode.amplitude.new_zeros(torus.channels).index_copy(0, torus.used, mode.amplitude)
        mode = mode._replace(amplitude=amplitude)
    start = wave(scaled, mode, on_inputs=on_inputs)
    lower = witnessed(scaled if on_inputs else Adjoint(scaled), start, witnessing)
    return Bracket(up_ldexp(min(hoelder, proved), exponent), math.ldexp(lower, exponent))
