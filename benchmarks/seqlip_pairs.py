"""Pairs of layers: how far below the maximum the searches end, how far above it the certified bounds lie, how fast.

Run as `python -m benchmarks.seqlip_pairs`. The first table compares with enumeration on random pairs of
width up to 14; the second one times a wide pair, the published greedy extrapolated from a few decompositions.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from app.lipschitz.deadline import Deadline
from app.lipschitz.seqlip.pairs.ascent import ascend, best, starts
from app.lipschitz.seqlip.pairs.bounds import semidefinite_bounds
from app.lipschitz.seqlip.pairs.enumeration import enumerate_vertices
from app.lipschitz.seqlip.pairs.greedy import greedy
from app.lipschitz.seqlip.pairs.multiplier import weighted_bound
from app.lipschitz.seqlip.pairs.pair import Pair
from app.lipschitz.seqlip.pairs.solve import search


def gaussian_pair(p: int, n: int, k: int, generator: torch.Generator) -> Pair:
    """ReLU between two Gaussian layers."""
    outer, inner = (torch.randn(*shape, dtype=torch.float64, generator=generator) for shape in ((p, n), (n, k)))
    return Pair(outer, inner, torch.zeros(n, dtype=torch.float64), torch.ones(n, dtype=torch.float64))


def ascended(pair: Pair) -> Tensor:
    """Sign ascent from 32 vertices."""
    return best(pair, ascend(pair, starts(pair, 32, torch.Generator().manual_seed(0))))


def semidefinite(pair: Pair) -> float:
    """The root bound."""
    return float(semidefinite_bounds(pair, 1e-4)(pair.lower[None], pair.upper[None]))


def product(pair: Pair) -> float:
    """AutoLip's factor."""
    return float(torch.linalg.matrix_norm(pair.outer, 2) * torch.linalg.matrix_norm(pair.inner, 2))


def attained(find: Callable[[Pair], Tensor]) -> Callable[[Pair], float]:
    """The value of the vertex that a search finds."""
    return lambda pair: float(pair.values(find(pair)[None]))


COLUMNS: dict[str, Callable[[Pair], float]] = {
    "greedy": attained(greedy),
    "sign ascent": attained(ascended),
    "both": attained(lambda pair: search(pair, 32, Deadline.after(60.0))),
    "semidefinite": semidefinite,
    "multiplier": lambda pair: weighted_bound(pair)[0],
    "product of norms": product,
}


def small_pairs(count: int) -> None:
    """Ratios to the exact maximum; stops on a violation of attained <= maximum <= certified."""
    generator = torch.Generator().manual_seed(0)
    ratios: dict[str, list[float]] = {name: [] for name in COLUMNS}
    for _ in range(count):
        p, n, k = torch.randint(2, 15, (3,), generator=generator).tolist()
        pair = gaussian_pair(p, n, k, generator)
        exact = enumerate_vertices(pair).upper
        for name, column in COLUMNS.items():
            ratios[name].append(column(pair) / exact)
    print(f"{count} pairs of width 2 to 14: ratio to the maximum by enumeration\n")
    print("| | mean | worst |\n|---|---|---|")
    for name, found in ratios.items():
        below = name in ("greedy", "sign ascent", "both")
        assert all(ratio <= 1 + 1e-9 if below else ratio >= 1 - 1e-9 for ratio in found), name
        print(f"| {name} | {sum(found) / count:.5f} | {min(found) if below else max(found):.5f} |")


def wide_pair(width: int) -> None:
    """Values and seconds of every column on one square pair."""
    pair = gaussian_pair(width, width, width, torch.Generator().manual_seed(1))
    print(f"\nwidth {width}\n\n| | value | seconds |\n|---|---|---|")
    for name, column in COLUMNS.items():
        begun = time.perf_counter()
        value = column(pair)
        print(f"| {name} | {value:.4f} | {time.perf_counter() - begun:.2f} |")
    flips = int((greedy(pair) != pair.steepest()).sum()) + 1
    begun = time.perf_counter()
    for _ in range(5):
        pair.values(pair.upper[None])
    seconds = flips * width * (time.perf_counter() - begun) / 5
    print(
        f"| greedy as published: {flips} rounds of {width} decompositions | the same | {seconds:.0f} (extrapolated) |"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--width", type=int, default=500)
    arguments = parser.parse_args()
    small_pairs(arguments.pairs)
    wide_pair(arguments.width)
