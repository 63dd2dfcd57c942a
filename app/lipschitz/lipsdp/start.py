"""A strictly feasible start: one multiplier a layer in closed form.

Layer by layer, with K the part of S for x and the layers so far: neurons with slopes m +- r satisfy
|z - m v|^2 <= r^2 |v|^2, so K stays positive definite when the layer's multiplier t is below
1 / (2 lambda_max(R V K^-1 V^T R)); half of that is taken. Finally everything is scaled until S is positive
definite. This is the closed form of ECLipsE-Fast (Xu & Sivaranjani, 2024), for any graph and any slopes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .system import System

ROOM = 2.0
"""How far the start lies above the smallest feasible scale."""


def closed_form(system: System, layers: Sequence[slice]) -> tuple[Tensor, Tensor]:
    """rho `(P,)` and t `(P, m)` with S positive definite; `layers` are the neurons' ranges, inputs first."""
    n, like = system.inputs, system.lower
    t = torch.zeros_like(like)
    factor = torch.eye(n, dtype=like.dtype, device=like.device).expand(system.batch, n, n)
    for layer in layers:
        whitened = _whitened(factor, _rows(system, layer)[:, :, : n + layer.start])
        radius = (system.upper - system.lower)[:, layer] / 2.0
        largest = _greatest(system, _largest(whitened * radius[:, None]))
        t[:, layer] = torch.where(largest > 0.0, 1.0 / (4.0 * largest), 1.0)[:, None]
        factor = _recomputed(system, t, layer) if system.is_curved else _extended(system, factor, whitened, t, layer)
    scale = ROOM * _greatest(system, _largest(_whitened(factor, system.output))).clamp(min=1e-30)
    return scale, _of_groups(system, t * scale[:, None])


def _whitened(factor: Tensor, rows: Tensor) -> Tensor:
    """L^-1 R^T for K = L L^T, `(P, N, r)`."""
    whitened: Tensor = torch.linalg.solve_triangular(factor, rows.mT.expand(len(factor), -1, -1), upper=False)
    return whitened


def _extended(system: System, factor: Tensor, whitened: Tensor, t: Tensor, layer: slice) -> Tensor:
    """The factor with the layer's rows below: slopes from zero leave the rest of K as it was."""
    below = -(t * system.upper)[:, layer, None] * whitened.mT
    corner = torch.linalg.cholesky(torch.diag_embed(2.0 * t[:, layer]) - below @ below.mT)
    above = factor.new_zeros(len(factor), factor.shape[1], below.shape[1])
    return torch.cat([torch.cat([factor, above], 2), torch.cat([below, corner], 2)], 1)


def _recomputed(system: System, t: Tensor, layer: slice) -> Tensor:
    """The factor of K up to this layer."""
    seen = system.inputs + layer.stop
    plain = System(system.inputs, system.blocks, system.output, system.lower, system.upper)
    root: Tensor = torch.linalg.cholesky(plain.step(t.new_ones(len(t)), t)[:, :seen, :seen])
    return root


def _rows(system: System, layer: slice) -> Tensor:
    """The layer's rows of V, `(P, r, N)`."""
    rows = system.lower.new_zeros(system.batch, layer.stop - layer.start, system.size)
    for block in system.blocks:
        if layer.start <= block.row < layer.stop:
            at = slice(block.row - layer.start, block.rows.stop - layer.start)
            rows[:, at, block.columns] += block.matrix
    return rows


def _largest(whitened: Tensor) -> Tensor:
    """The largest squared singular value, `(P,)`."""
    small = whitened.mT @ whitened if whitened.shape[2] <= whitened.shape[1] else whitened @ whitened.mT
    largest: Tensor = torch.linalg.eigvalsh(small)[:, -1]
    return largest


def _greatest(system: System, x: Tensor) -> Tensor:
    return -system.least(-x)


def _of_groups(system: System, t: Tensor) -> Tensor:
    """One multiplier of every group; those of a layer are equal."""
    if system.groups is None:
        return t
    least = t.new_full((len(t), system.multipliers), torch.inf)
    return least.scatter_reduce_(1, system.groups.expand(len(t), -1), t, "amin")
