"""Fourier transforms of signals: products with cosines and sines, which are made by operators that have rules.

Their angles are 2 pi k n / N, reduced to k n modulo N in whole numbers, so only pi is rounded, and that with an error
that is known when the constants are folded.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .table import OnnxCall, const, op

LAST_AXIS_DEFAULT = 20
"""The operator set from which DFT takes its axis as an input."""


def _turns(numerators: Tensor, size: int) -> Tensor:
    """2 pi numerators / size."""
    eighth = torch.atan(torch.ones((), dtype=torch.float64))
    return numerators.remainder(size).to(torch.float64) * (8.0 * eighth) / float(size)


def _waves(size: int, bins: int) -> tuple[Tensor, Tensor]:
    """cos and -sin of 2 pi k n / size, `(bins, size)` each."""
    angles = _turns(torch.arange(bins)[:, None] * torch.arange(size), size)
    return torch.cos(angles), -torch.sin(angles)


def _bins(call: OnnxCall, size: int, default: int) -> int:
    return size // 2 + 1 if call.attr("onesided", default) else size


@op("STFT")
def short_time_transform(call: OnnxCall) -> Tensor:
    """(batch, samples[, 1]) -> (batch, frames, bins, 2): a convolution with the windowed waves."""
    x = call.tensor(0)
    if x.ndim == 3 and x.shape[-1] == 2:
        raise call.refuse("complex signals")
    window = call.optional(2)
    size = int(call.number(3)) if call.has(3) else window.shape[0] if window is not None else 0
    if not 0 < size <= x.shape[1]:
        raise call.refuse(f"frames of {size} samples")
    bins = _bins(call, size, 1)
    call.bounded([2 * bins, size])
    weight = torch.cat(_waves(size, bins))
    if window is not None:
        weight = weight * window.to(torch.float64)
    frames = F.conv1d(x.reshape(x.shape[0], 1, -1), weight.to(x.dtype)[:, None], stride=int(call.number(1)))
    spectrum: Tensor = frames.unflatten(1, (2, bins)).permute(0, 3, 2, 1)
    return spectrum


@op("DFT")
def transform(call: OnnxCall) -> Tensor:
    """(..., n, ..., 1 or 2) -> (..., bins, ..., 2) along one axis; the inverse is divided by its length."""
    x = call.tensor(0)
    axis = _axis(call) % x.ndim
    size = int(call.number(1)) if call.has(1) else x.shape[axis]
    call.bounded([size, size])
    real, imaginary = (_fitted(part, axis, size) for part in _parts(x))
    cosine, sine = (wave.to(x.dtype).t() for wave in _waves(size, _bins(call, size, 0)))
    if call.attr("inverse", 0):
        cosine, sine = cosine / size, -sine / size
    whole = torch.stack([real @ cosine - imaginary @ sine, real @ sine + imaginary @ cosine], -1)
    return whole.movedim(-2, axis)


def _axis(call: OnnxCall) -> int:
    if call.opset < LAST_AXIS_DEFAULT:
        return int(call.attr("axis", 1))
    return int(call.number(2)) if call.has(2) else -2


def _parts(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[..., 0], x[..., 1] if x.shape[-1] == 2 else torch.zeros_like(x[..., 0])


def _fitted(x: Tensor, axis: int, size: int) -> Tensor:
    """The axis last, cut or padded with zeros to `size`."""
    last = x.movedim(axis, -1)[..., :size]
    return F.pad(last, (0, size - last.shape[-1]))


@op("HannWindow")
def hann(call: OnnxCall) -> Tensor:
    """1/2 - 1/2 cos."""
    return _window(call, (1, 2), (1, 2), (0, 1))


@op("HammingWindow")
def hamming(call: OnnxCall) -> Tensor:
    """25/46 - 21/46 cos."""
    return _window(call, (25, 46), (21, 46), (0, 1))


@op("BlackmanWindow")
def blackman(call: OnnxCall) -> Tensor:
    """21/50 - 1/2 cos + 2/25 cos of twice the angle."""
    return _window(call, (21, 50), (1, 2), (2, 25))


def _window(call: OnnxCall, *ratios: tuple[int, int]) -> Tensor:
    """a - b cos(2 pi n / N) + c cos(4 pi n / N), with N - 1 for N where the window is not periodic."""
    a, b, c = (torch.full((), float(p), dtype=torch.float64) / q for p, q in ratios)
    (size,) = call.bounded([int(call.number(0))])
    n, period = const(range(size)), max(size if call.attr("periodic", 1) else size - 1, 1)
    return (a - b * torch.cos(_turns(n, period)) + c * torch.cos(_turns(2 * n, period))).to(torch.float32)
