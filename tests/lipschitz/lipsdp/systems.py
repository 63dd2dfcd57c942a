"""Systems of small chains."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from app.lipschitz.lipsdp.system import Block, System


def random_weights(sizes: Sequence[int], seed: int) -> list[Tensor]:
    """Gaussian matrices of unit-order norm."""
    generator = torch.Generator().manual_seed(seed)
    shapes = zip(sizes[1:], sizes[:-1], strict=True)
    return [torch.randn(o, i, dtype=torch.float64, generator=generator) / (o + i) ** 0.5 for o, i in shapes]


def chain(
    weights: Sequence[Tensor], slope: tuple[float, float] = (0.0, 1.0), *, skips: float = 0.0, by_layer: bool = False
) -> tuple[System, list[slice]]:
    """A chain of dense layers; `skips` adds that much of the input to every pre-activation of its width."""
    inputs = weights[0].shape[1]
    blocks, layers, groups, column, row = [], [], [], 0, 0
    for k, weight in enumerate(weights[:-1]):
        blocks.append(Block(row, column, weight))
        if k > 0 and skips and len(weight) == inputs:
            blocks.append(Block(row, 0, skips * torch.eye(inputs, dtype=torch.float64)))
        layers.append(slice(row, row + len(weight)))
        groups += [k] * len(weight)
        column, row = inputs + row, row + len(weight)
    output = torch.zeros(len(weights[-1]), inputs + row, dtype=torch.float64)
    output[:, column:] = weights[-1]
    ends = [torch.full((1, row), end, dtype=torch.float64) for end in slope]
    return System(inputs, tuple(blocks), output, *ends, torch.tensor(groups) if by_layer else None), layers
