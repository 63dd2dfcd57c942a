"""LipSDP against its peers in one run: general conic solvers and ECLipsE, on random chains of Gaussian layers.

.venv/bin/python -m benchmarks.lipsdp [--largest 2000] [--peers-to 120] [--seconds 600]

Needs the `bench` extra. A peer that takes longer than `--seconds` is stopped and shown as '-'. Ours is certified;
the conic solvers' values carry their tolerances; ECLipsE is a looser relaxation.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from app.lipschitz.lipsdp.dense.interior import minimise
from app.lipschitz.lipsdp.proof import proved
from app.lipschitz.lipsdp.start import closed_form
from app.lipschitz.lipsdp.system import Block, System
from benchmarks.conic import least_rho

CHAINS = {
    60: [20, 30, 30, 10],
    120: [20, 60, 60, 10],
    250: [40, 125, 125, 10],
    500: [100, 250, 250, 10],
    1000: [100, 500, 500, 10],
    2000: [200, *[500] * 4, 10],
}
MIXED = {"784-500-200-50-10": [784, 500, 200, 50, 10]}


def weights_of(sizes: list[int]) -> list[Tensor]:
    """Gaussian layers of spectral norm one, the input turned into as many coordinates as the first layer has."""
    generator = torch.Generator().manual_seed(0)
    shapes = zip(sizes[1:], sizes[:-1], strict=True)
    weights = [torch.randn(o, i, dtype=torch.float64, generator=generator) for o, i in shapes]
    if weights[0].shape[1] > weights[0].shape[0]:
        weights[0] = torch.linalg.qr(weights[0].T)[1].T.contiguous()
    return [weight / torch.linalg.matrix_norm(weight, 2) for weight in weights]


def chain(weights: list[Tensor]) -> tuple[System, list[slice]]:
    """The system of a chain with slopes in [0, 1]."""
    inputs, row, column = weights[0].shape[1], 0, 0
    blocks, layers = [], []
    for weight in weights[:-1]:
        blocks.append(Block(row, column, weight))
        layers.append(slice(row, row + len(weight)))
        column, row = inputs + row, row + len(weight)
    output = torch.zeros(len(weights[-1]), inputs + row, dtype=torch.float64)
    output[:, column:] = weights[-1]
    ones = torch.ones(1, row, dtype=torch.float64)
    return System(inputs, tuple(blocks), output, 0.0 * ones, ones), layers


def ours(weights: list[Tensor], gap: float) -> float:
    """The certified bound."""
    system, layers = chain(weights)
    start = closed_form(system, layers)
    found = minimise(system, *start, gap=gap)
    return math.sqrt(float(proved(system, found.rho, found.t, start)[0]))


def eclipse(weights: list[Tensor], method: str) -> float:
    """The PyPI package eclipse-nn."""
    from eclipse_nn import LipConstEstimator

    with contextlib.redirect_stdout(None):  # it reports its fallbacks there
        return float(LipConstEstimator(weights=weights).estimate(method))


def timed(function: Callable[..., float], *arguments: Any) -> tuple[float, float]:
    """The value and the seconds."""
    begun = time.perf_counter()
    value = function(*arguments)
    return value, time.perf_counter() - begun


def shown(result: tuple[float, float] | None) -> str:
    """One cell: the bound and the seconds."""
    return "-" if result is None or math.isnan(result[0]) else f"{result[0]:.7g} ({result[1]:.3g} s)"


def row(name: str, sizes: list[int], gap: float, seconds: float | None) -> None:
    """One line of the table; `seconds` limits the conic solvers, None leaves them out."""
    weights = weights_of(sizes)
    cells = [timed(ours, weights, gap)]
    peers: list[tuple[float, float] | None] = [None, None]
    if seconds is not None:
        limits = {"CLARABEL": {"time_limit": seconds}, "SCS": {"time_limit_secs": seconds}}
        system = chain(weights)[0]
        peers = [timed(lambda s=s, o=o: math.sqrt(least_rho(system, s, **o))) for s, o in limits.items()]
    fast = timed(eclipse, weights, "ECLipsE_Fast")
    slow = timed(eclipse, weights, "ECLipsE") if seconds is not None else None
    print(f"| {name} | " + " | ".join(map(shown, [*cells, *peers, slow, fast])) + " |", flush=True)


def main() -> None:
    """Print the table as markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--largest", type=int, default=2000)
    parser.add_argument("--peers-to", type=int, default=120)
    parser.add_argument("--seconds", type=float, default=600.0)
    given = parser.parse_args()
    timed(ours, weights_of(CHAINS[60]), 1e-3)
    print("| hidden neurons | Lipserve (certified) | Clarabel | SCS | ECLipsE | ECLipsE-Fast |")
    print("|---|---|---|---|---|---|")
    for count, sizes in CHAINS.items():
        if count <= given.largest:
            row(str(count), sizes, 1e-7, given.seconds if count <= given.peers_to else None)
    for name, sizes in MIXED.items():
        row(name, sizes, 1e-6, None)


if __name__ == "__main__":
    main()
