"""The frequencies that matter: the problem is solved on a few, proved on all, and those that object are added.

The constraint changes slowly from one frequency to the next and binds at few of them, so a dozen stand for hundreds.
Every round gives a proved bound, and a lower value: fewer constraints can only lower the optimum.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from app.lipschitz.sdp.fourier import Chain
from app.lipschitz.sdp.fourier_chain import half_frequencies
from app.lipschitz.sdp.interior import Iterate, Watch, minimise
from app.lipschitz.sdp.proof import is_proved, proved
from app.lipschitz.sdp.start import closed_form
from app.lipschitz.sdp.system import System

FIRST = 6
"""Frequencies of the first round."""

LARGEST_BATCH = 2 * 10**7
"""Entries of the matrices solved for at once: the solver holds about 25 such batches of float64 numbers."""

_PROOF_BATCH = 10**7

Point = tuple[Tensor, Tensor]
"""rho `(1,)` and the multipliers `(1, m)`."""


@dataclass(frozen=True, eq=False)
class Found:
    """A proved rho, `(1,)`, infinite where there is no proof; the last iterate on `frequencies` of `total`."""

    rho: Tensor
    iterate: Iterate
    iterations: int
    frequencies: int
    total: int


def least_rho(chain: Chain, gap: float, watch: Watch) -> Found:
    """The smallest rho that could be proved before `watch` stopped the search, or within the relative `gap`."""
    everything = half_frequencies(chain.sides, chain.layers[0].convolution.device)
    most = max(LARGEST_BATCH // chain.side**2, 1)
    chosen = _spread(len(everything), min(FIRST, most)).to(everything.device)
    best, iterations = torch.full((1,), torch.inf, dtype=torch.float64, device=everything.device), 0
    while True:
        system = chain.system(everything[chosen])
        start = closed_form(system, chain.ranges)
        now = minimise(system, *start, gap=gap / 2.0, watch=watch)
        iterations += now.iterations
        needed, rho = _on_all(chain, everything, (now.rho, now.t), start)
        best = torch.minimum(best, rho)
        found = Found(best, now, iterations, len(chosen), len(everything))
        added = _worst(needed, now.rho * (1.0 + gap / 2.0), chosen, most)
        if not len(added) or watch(now):
            return found
        chosen = torch.cat([chosen, added])


def _spread(total: int, count: int) -> Tensor:
    """Positions evenly spaced over the list, the zero frequency among them."""
    return torch.linspace(0, total - 1, min(count, total)).round().to(torch.int64)


def _on_all(chain: Chain, frequencies: Tensor, point: Point, inner: Point) -> tuple[Tensor, Tensor]:
    """The rho that each frequency can prove on the way from the point to `inner`, and one proved by all, `(1,)`."""
    parts = [_proved_apart(part, point, inner) for part in _systems(chain, frequencies)]
    needed, t = torch.cat([rho for rho, _ in parts]), torch.cat([t for _, t in parts])
    worst = int(needed.argmax())
    rho, t = needed[worst : worst + 1], t[worst : worst + 1]
    holds = bool(torch.isfinite(rho)) and all(bool(is_proved(part, rho, t)) for part in _systems(chain, frequencies))
    return needed, rho if holds else torch.full_like(rho, torch.inf)


def _proved_apart(system: System, point: Point, inner: Point) -> Point:
    apart = replace(system, coupled=False)
    several = [(rho.expand(system.batch), t.expand(system.batch, -1)) for rho, t in (point, inner)]
    return proved(apart, *several[0], several[1])


def _systems(chain: Chain, frequencies: Tensor) -> Iterator[System]:
    for part in frequencies.split(max(_PROOF_BATCH // chain.side**2, 1)):
        yield chain.system(part)


def _worst(needed: Tensor, enough: Tensor, chosen: Tensor, most: int) -> Tensor:
    """The frequencies furthest from a proof of `enough`, as many as double the set or as fit."""
    objecting = needed.clone()
    objecting[chosen] = 0.0
    count = min(len(chosen), most - len(chosen), int((objecting > enough).sum()))
    return objecting.topk(count).indices
