"""LipSDP of convolutional chains in the Fourier domain beside AutoLip's product and the dense per-neuron bound.

    .venv/bin/python -m benchmarks.fourier

Columns: side of the map and channels of the convolutions; certified product of norms, Fourier and dense bound; what
gradient ascent attains; seconds for the two semidefinite bounds. The digits' chains are the convolutions of
classifiers trained on 8x8 digits; the last row has the size of AlexNet's third and fourth layers.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from app.lipschitz.deadline import NEVER
from app.lipschitz.formulation import make_problem
from app.lipschitz.ingest import capture
from app.lipschitz.lipsdp.semidefinite import bound
from app.lipschitz.lipsdp.torus.bound import fourier_bound
from app.lipschitz.lower.gradient import gradient
from app.lipschitz.problem import Problem
from app.lipschitz.request import Request
from app.lipschitz.walk.pieces import constants_within, cuts, joined
from benchmarks.networks import exported, fit, images

LARGEST_DENSE = 1500
"""Neurons that the dense bound is computed for."""

SECONDS = 600.0


def convolutions(channels: Sequence[int], strides: Sequence[int]) -> list[nn.Module]:
    """3x3 convolutions with ReLU between and none at the end."""
    modules: list[nn.Module] = []
    for c_in, c_out, stride in zip(channels, channels[1:], strides, strict=False):
        modules += [nn.Conv2d(c_in, c_out, 3, stride, padding=1), nn.ReLU()]
    return modules[:-1]


def of_digits(depth: int) -> nn.Sequential:
    """The convolutions of a classifier of 8x8 digits."""
    data = images(Path())
    chain = nn.Sequential(*convolutions([1] + [16] * depth, [1] * depth))
    fit(
        nn.Sequential(chain, nn.ReLU(), nn.Flatten(), nn.Linear(1024, 10)),
        data.x,
        data.y,
        cross_entropy,
        epochs=15,
        batch=64,
    )
    return chain


def row(chain: nn.Sequential, channels: Sequence[int], side: int, gap: float = 1e-4) -> None:
    """Print the bounds of one chain."""
    problem = _problem(chain, channels[0], side)
    piece = joined(cuts(problem.network))
    constants = constants_within(problem, piece)
    started = time.monotonic()
    fourier = fourier_bound(problem, piece, False, gap, started + SECONDS)
    middle = time.monotonic()
    small = sum(node.size for node in piece.activations) <= LARGEST_DENSE
    dense = bound(problem, piece, constants, False, gap, middle + SECONDS).value if small else None
    seconds = f"{middle - started:9.1f} {time.monotonic() - middle if small else 0.0:9.1f}"
    attained = gradient(problem, Request.parse({"methods": ["gradient"]}).options["gradient"]).value
    assert fourier is not None
    assert attained is not None
    size = f"{side:3d}  {'-'.join(map(str, channels)):24s}"
    values = f"{constants[piece.end]:9.4g} {fourier.value:9.4g} {dense or float('nan'):9.4g} {attained:9.4g}"
    print(size, values, seconds, flush=True)


def _problem(chain: nn.Sequential, channels: int, side: int) -> Problem:
    shape = (1, channels, side, side)
    request = Request.parse({"methods": ["gradient"], "budget_s": 3600})
    captured = capture(exported(chain.requires_grad_(False), shape), request.inputs)
    return make_problem(captured, request, NEVER, lambda _: None)


def main() -> None:
    """Print the table; `--large` adds a pair of AlexNet's layers, which takes ten minutes."""
    torch.manual_seed(0)
    print("map  channels                   product   Fourier     dense  attained  s Fourier   s dense")
    for _ in range(2):
        row(nn.Sequential(*convolutions([2, 4, 2], [1, 1])), [2, 4, 2], 5)
    row(nn.Sequential(*convolutions([1, 8, 8, 8], [1, 2, 1])), [1, 8, 8, 8], 8)
    for depth in (2, 4, 6):
        row(of_digits(depth), [1] + [16] * depth, 8)
    row(nn.Sequential(*convolutions([1, 16, 32], [1, 2])), [1, 16, 32], 28)
    row(nn.Sequential(*convolutions([1, 16, 16, 16], [1, 1, 1])), [1, 16, 16, 16], 28)
    if "--large" in sys.argv:
        row(nn.Sequential(*convolutions([192, 384, 256], [1, 1])), [192, 384, 256], 13, gap=1e-2)


if __name__ == "__main__":
    main()
