"""LipSDP against its peers in one run: general conic solvers and ECLipsE, on random chains of Gaussian layers.

.venv/bin/python -m benchmarks.lipsdp [--largest 2000] [--peers-to 120] [--seconds 600] [--only deep|wide]

Needs the `bench` extra. A peer that takes longer than `--seconds` is stopped and shown as '-'. Ours is certified;
the conic solvers' values carry their tolerances; ECLipsE is a looser relaxation. The deep and the wide chains have a
table of their own, with the optimum's bound from below and the processor's seconds beside the clock's.
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

from app.lipschitz.lipsdp.deep.chain_proof import COARSE_SHARES, proved_chain
from app.lipschitz.lipsdp.deep.deep import minimise_deep
from app.lipschitz.lipsdp.deep.plain_chain import PlainChain
from app.lipschitz.lipsdp.dense.interior import minimise
from app.lipschitz.lipsdp.found import Found, Progress
from app.lipschitz.lipsdp.proof import SHARES, proved
from app.lipschitz.lipsdp.start import ROOM, closed_form
from app.lipschitz.lipsdp.system import Block, System
from app.lipschitz.lipsdp.wide.wide import minimise_wide
from app.lipschitz.lipsdp.wide.wide_start import wide_start
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
DEEP = {"32 layers of 64": [64] * 34, "64 layers of 64": [64] * 66}
WIDE = {"784-10000-10": [784, 10_000, 10], "9216-4096-4096-10": [9216, 4096, 4096, 10]}
DEEP_GAP, WIDE_GAP = 2e-2, 2e-2
"""Relative gaps of the squared constants."""


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


def large(name: str, sizes: list[int], seconds: float) -> None:
    """One line of the second table: a chain too deep or too wide for dense algebra."""
    weights = weights_of(sizes)
    system, layers = chain(weights)
    plain = PlainChain.of(system, layers)
    assert plain is not None
    begun, cpu = time.perf_counter(), time.process_time()

    def late(_: Progress) -> bool:
        return time.perf_counter() - begun > seconds

    if name in DEEP:
        rho, t = closed_form(system, layers)
        start = float(rho), t[0]
        found = minimise_deep(plain, *start, gap=DEEP_GAP, watch=late)
    else:
        start = wide_start(plain) or (math.nan, plain.slopes[1])
        found = minimise_wide(plain, start[0] / ROOM, start[1] / ROOM, gap=WIDE_GAP, watch=late)
    shares = SHARES if name in DEEP else COARSE_SHARES
    proof = proved_chain(plain, *point(found.rho, found.t), point(*start), shares)
    value = math.sqrt(float(proof[0]))
    taken, cpu = time.perf_counter() - begun, time.process_time() - cpu
    print(
        f"| {name} | {value:.7g} | {_below(found, value)} | {found.iterations} | {taken:.3g} | {cpu:.3g} |", flush=True
    )


def _below(found: Found, value: float) -> str:
    return f"{100.0 * (1.0 - math.sqrt(max(found.optimum, 0.0)) / value):.2g} %"


def point(rho: float, t: Tensor) -> tuple[Tensor, Tensor]:
    """As the proof takes it."""
    return t.new_tensor([rho]), t[None]


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
    parser.add_argument("--only", choices=("deep", "wide"))
    given = parser.parse_args()
    timed(ours, weights_of(CHAINS[60]), 1e-3)
    if given.only is None:
        print("| hidden neurons | Lipserve (certified) | Clarabel | SCS | ECLipsE | ECLipsE-Fast |")
        print("|---|---|---|---|---|---|")
        for count, sizes in CHAINS.items():
            if count <= given.largest:
                row(str(count), sizes, 1e-7, given.seconds if count <= given.peers_to else None)
        for name, sizes in MIXED.items():
            row(name, sizes, 1e-6, None)
    print("| chain | Lipserve (certified) | above the optimum, at most | iterations | s | s of processors |")
    print("|---|---|---|---|---|---|")
    for kind, cases in (("deep", DEEP), ("wide", WIDE)):
        for name, sizes in cases.items():
            if given.only in (None, kind):
                large(name, sizes, given.seconds)


if __name__ == "__main__":
    main()
