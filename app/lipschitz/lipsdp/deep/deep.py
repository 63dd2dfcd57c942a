"""LipSDP of deep chains: block tridiagonal algebra, and a bound of the optimum from below.

Two sweeps over short pieces (`deep_chain`) give a start whose scales suit the depth; the primal-dual method in block
tridiagonal algebra (`chain_interior`) goes on from there, and bounds the optimum from below.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from app.lipschitz.lipsdp.deep.chain_interior import minimise_chain
from app.lipschitz.lipsdp.deep.deep_chain import metrics, solved
from app.lipschitz.lipsdp.deep.plain_chain import PlainChain
from app.lipschitz.lipsdp.deep.tridiagonal import is_positive
from app.lipschitz.lipsdp.found import Found, Watch
from app.lipschitz.lipsdp.system import System

LEAST_DEPTH, LEAST_SIDE = 12, 2000
"""Shallower or smaller systems are solved with dense matrices: that is quick enough, and takes fewer iterations."""

_SWEEPS, _LENGTH = 2, 4
"""With fewer sweeps, or shorter pieces, the iterations after them double."""
_PIECE_GAP = 0.1
"""Relative gap of the pieces: their norms are still far off."""


def deep_chain(system: System, places: Sequence[slice]) -> PlainChain | None:
    """The chain to solve block by block; None for systems better solved as a whole."""
    if len(places) < LEAST_DEPTH or system.size < LEAST_SIDE or system.groups is not None:
        return None
    return PlainChain.of(system, places)


def minimise_deep(chain: PlainChain, rho: float, t: Tensor, *, gap: float, watch: Watch = lambda _: False) -> Found:
    """The best strictly feasible point at the relative gap `gap`, or when told to stop, from another such point."""
    best = Found(rho, t, torch.zeros(0, dtype=t.dtype), 0.0, 0)
    for sweep in range(_SWEEPS):
        if watch(best):
            break
        found = _swept(chain, best, sweep, watch)
        if found is None or not found.rho < best.rho or not is_positive(chain.slack(found.rho, found.t)):
            break
        best = found
    return minimise_chain(chain, best.rho, best.t, gap=gap, watch=watch)


def _swept(chain: PlainChain, best: Found, sweep: int, watch: Watch) -> Found | None:
    """The point after one sweep with the norms that the best point implies; None where rounding spoils it.

    The second one cuts in the middle of the pieces of the first.
    """
    cuts = range(_LENGTH if sweep % 2 else _LENGTH // 2, len(chain.layers) - 1, _LENGTH)
    try:
        between = metrics(chain, best.rho, chain.of_layers(best.t))
        rho, t, count = solved(chain, cuts, between, _PIECE_GAP, lambda: watch(best))
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        return None
    return Found(rho, torch.cat(t), best.energy, 0.0, best.iterations + count)
