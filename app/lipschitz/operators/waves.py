"""Plane waves on a convolution's input or output: where its norm is nearly attained."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .base import Shape
from .convolution import Convolution


class Mode(NamedTuple):
    """One eigenvector of a Gram symbol: angle per dimension, group, and amplitude per (channel, phase)."""

    angles: tuple[float, ...]
    group: int
    amplitude: Tensor


class _Grid(NamedTuple):
    """How points p of one dimension map to the torus: q = p + offset is phase q % period of cell q // period.

    `phases` is the period where phases are channels, and 1 where they are equal copies (dilation).
    """

    size: int
    period: int
    offset: int
    phases: int


def _grids(c: Convolution, *, on_inputs: bool) -> list[_Grid]:
    lows = [lo for lo, _ in c.padding]
    dims = zip(c.in_shape[2:], c.out_shape[2:], c.stride, c.dilation, lows, strict=True)
    if on_inputs:
        return [_Grid(n, d if s == 1 else s, lo, s) for n, _, s, d, lo in dims]
    return [_Grid(m, d if s == 1 else 1, 0, 1) for _, m, s, d, _ in dims]


def _outer(values: list[Tensor]) -> list[Tensor]:
    return list(torch.meshgrid(*values, indexing="ij"))


def _sine_window(size: int, device: torch.device) -> Tensor:
    steps = torch.arange(1, size + 1, dtype=torch.float64, device=device)
    return torch.sin(math.pi / (size + 1) * steps)


def wave(convolution: Convolution, mode: Mode, *, on_inputs: bool) -> Tensor:
    """A real wave of that mode under a sine window, `(1, n)` on the inputs or `(1, m)` on the outputs."""
    grids = _grids(convolution, on_inputs=on_inputs)
    shape: Shape = convolution.in_shape if on_inputs else convolution.out_shape
    device = mode.amplitude.device
    points = [torch.arange(g.size, device=device) + g.offset for g in grids]
    cells = _outer([(p // g.period).double() for p, g in zip(points, grids, strict=True)])
    phases = _outer([p % g.period % g.phases for p, g in zip(points, grids, strict=True)])
    windows = _outer([_sine_window(g.size, device) for g in grids])
    angle = torch.stack([theta * cell for theta, cell in zip(mode.angles, cells, strict=True)]).sum(0)
    window = torch.stack(windows).prod(0)
    amplitude = mode.amplitude.reshape(-1, *(g.phases for g in grids))
    amplitude = torch.stack([channel[tuple(phases)] for channel in amplitude])
    values = (amplitude * torch.polar(window, angle)).real
    channels = values.shape[0]
    field = values.new_zeros(shape)
    field[0, mode.group * channels : (mode.group + 1) * channels] = values
    return field.reshape(1, -1)
