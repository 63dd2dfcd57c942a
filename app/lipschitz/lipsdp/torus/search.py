"""The frequencies that matter: the problem is solved on a few, proved on all, and those that object are added.

The constraint changes slowly from one frequency to the next and binds at few of them, so a dozen stand for hundreds.
Every round gives a proved bound, and a lower value: fewer constraints can only lower the optimum.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...deadline import NEVER, Deadline, OutOfTime
from ..dense.interior import Iterate, Watch, minimise
from ..proof import is_proved
from ..start import closed_form
from .chain import half_frequencies
from .fourier import Chain

FIRST = 6
"""Frequencies of the first round."""

LARGEST_BATCH = 2 * 10**7
"""Entries of the matrices solved for at once: the solver holds about 25 such batches of float64 numbers."""

PROOF_BATCH = 10**7
"""The same for proofs, which need far less."""

_SHARES = (0.0, 1e-6, 1e-3, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Steps from an iterate towards its start, which lies far inside."""

Point = tuple[Tensor, Tensor]
"""rho `(1,)` and the multipliers `(1, m)`."""


@dataclass(frozen=True, eq=False)
class Solution:
    """A proved rho, infinite where there is no proof, and what no multipliers can go below, both `(1,)`.

    `iterate` is the last one, on `frequencies` of `total`; `t` are the multipliers that prove rho, and `inner` is a
    point far inside for the frequencies that they were found on.
    """

    rho: Tensor
    optimum: Tensor
    iterate: Iterate
    iterations: int
    frequencies: int
    total: int
    t: Tensor
    inner: Point


def least_rho(chain: Chain, gap: float, watch: Watch, deadline: Deadline = NEVER) -> Solution:
    """The smallest rho that could be proved before `watch` stopped the search, or within the relative `gap`.

    OutOfTime where the deadline comes before the first proof.
    """
    everything = half_frequencies(chain.sides, chain.layers[0].convolution.device)
    most = max(LARGEST_BATCH // chain.side**2, 1)
    chosen = _spread(len(everything), min(FIRST, most)).to(everything.device)
    optimum, iterations = torch.zeros(1, dtype=torch.float64, device=everything.device), 0
    best: tuple[Point, Point] | None = None
    while True:
        system = chain.system(everything[chosen])
        start = closed_form(system, chain.ranges)
        now = minimise(system, *start, gap=gap / 2.0, watch=watch)
        iterations, optimum = iterations + now.iterations, torch.maximum(optimum, now.optimum)
        try:
            (rho, t), objecting = _proved(
                chain, everything, (now.rho, now.t), start, enough=len(chosen), deadline=deadline
            )
        except OutOfTime:
            if best is None:
                raise
            (rho, t), objecting = best[0], chosen[:0]
        if best is None or float(rho) < float(best[0][0]):
            best = (rho, t), start
        added = objecting[~torch.isin(objecting, chosen)][: most - len(chosen)]
        if float(rho) <= float(now.rho) * (1.0 + gap / 2.0) or not len(added) or watch(now):
            (rho, t), inner = best
            return Solution(rho, optimum, now, iterations, len(chosen), len(everything), t, inner)
        chosen = torch.cat([chosen, added])


def _spread(total: int, count: int) -> Tensor:
    """Positions evenly spaced over the list, the zero frequency among them."""
    return torch.linspace(0, total - 1, min(count, total)).round().to(torch.int64)


def _proved(
    chain: Chain, frequencies: Tensor, point: Point, inner: Point, *, enough: int, deadline: Deadline
) -> tuple[Point, Tensor]:
    """A point that all frequencies prove on the way to `inner`; its rho is infinite where there is none.

    Where a step further from `inner` fails, up to `enough` positions of frequencies that object to it: bisection over
    the steps, since what holds at one of them holds beyond.
    """
    low, high, proved = 0, len(_SHARES), (torch.full_like(point[0], torch.inf), point[1])
    against = torch.empty(0, dtype=torch.int64, device=frequencies.device)
    while low < high:
        middle = (low + high) // 2
        rho, t = (a + _SHARES[middle] * (b - a) for a, b in zip(point, inner, strict=True))
        objecting = _objecting(chain, frequencies, rho, t, enough=enough, deadline=deadline)
        if len(objecting):
            low, against = middle + 1, objecting
        else:
            high, proved = middle, (rho, t)
    return proved, against


def _objecting(chain: Chain, frequencies: Tensor, rho: Tensor, t: Tensor, *, enough: int, deadline: Deadline) -> Tensor:
    """Positions of frequencies whose constraint is not proved, `enough` of them at most; none if all are."""
    objecting = torch.empty(0, dtype=torch.int64, device=frequencies.device)
    for part in _shuffled(len(frequencies), frequencies.device).split(max(PROOF_BATCH // chain.side**2, 1)):
        deadline.check()
        system = replace(chain.system(frequencies[part]), coupled=False)
        holds = is_proved(system, rho.expand(len(part)), t.expand(len(part), -1))
        objecting = torch.cat([objecting, part[~holds]])
        if len(objecting) >= enough:
            break
    return objecting[:enough]


def _shuffled(count: int, device: torch.device) -> Tensor:
    """All positions in an order of no pattern, so that objections from everywhere come early."""
    order = torch.randperm(count, generator=torch.Generator("cpu").manual_seed(0), device="cpu")
    return order.to(device)
