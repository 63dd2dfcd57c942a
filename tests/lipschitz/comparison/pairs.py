"""Random pairs of small networks: perturbed, pruned, quantised, partly retrained, and of another depth."""

from __future__ import annotations

import copy
import itertools
import random
from dataclasses import dataclass

import torch
from torch import nn

KINDS = ("perturbed", "pruned", "quantised", "retrained", "deeper")


@dataclass(frozen=True, eq=False)
class Pair:
    """Two modules on one input shape."""

    first: nn.Module
    second: nn.Module
    shape: tuple[int, ...]


def random_pair(seed: int) -> Pair:
    """The pair of that seed."""
    draw = random.Random(seed)
    torch.manual_seed(seed)
    shape, first = _cnn(draw) if draw.random() < 0.25 else _mlp(draw)
    return Pair(first, _twin(first, KINDS[seed % len(KINDS)], draw), shape)


def _activation(draw: random.Random) -> nn.Module:
    return draw.choice([nn.ReLU, nn.ReLU, nn.Tanh, nn.GELU, nn.LeakyReLU, nn.Sigmoid])()


def _mlp(draw: random.Random) -> tuple[tuple[int, ...], nn.Sequential]:
    sizes = [draw.randint(2, 6), *(draw.randint(3, 12) for _ in range(draw.randint(1, 3))), draw.randint(2, 4)]
    layers: list[nn.Module] = []
    for i, o in itertools.pairwise(sizes):
        layers += [nn.Linear(i, o), _activation(draw)]
    tail = [nn.Softmax(-1)] if draw.random() < 0.2 else []
    return (1, sizes[0]), nn.Sequential(*layers[:-1], *tail)


def _cnn(draw: random.Random) -> tuple[tuple[int, ...], nn.Sequential]:
    channels = draw.randint(1, 3)
    pool = draw.choice([nn.MaxPool2d(2), nn.AvgPool2d(2)])
    body = [nn.Conv2d(1, channels, 3, padding=1), _activation(draw), pool, nn.Flatten(), nn.Linear(9 * channels, 3)]
    return (1, 1, 6, 6), nn.Sequential(*body)


def _twin(first: nn.Sequential, kind: str, draw: random.Random) -> nn.Sequential:
    second = copy.deepcopy(first)
    if kind == "deeper":
        size = int(second[-1].out_features) if isinstance(second[-1], nn.Linear) else None
        return nn.Sequential(*second, *([] if size is None else [nn.Linear(size, size), nn.ReLU()]), nn.Identity())
    weights = list(second.parameters())
    changed = weights[-2:] if kind == "retrained" else weights
    with torch.no_grad():
        for weight in changed:
            weight.copy_(_changed(weight, kind, 10.0 ** draw.uniform(-9, -1)))
    return second


def _changed(weight: torch.Tensor, kind: str, size: float) -> torch.Tensor:
    if kind == "pruned":
        return torch.where(weight.abs() < weight.abs().median(), 0.0, weight)
    if kind == "quantised":
        step = weight.abs().max() / 127
        return (weight / step).round() * step
    return weight + size * torch.randn_like(weight)
