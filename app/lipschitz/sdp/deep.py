"""LipSDP of deep chains by sweeps over short pieces: seconds grow with the depth, not with its cube.

Sweep after sweep the chain is cut elsewhere, in the middle of the pieces before, with quadratic norms at the cuts that
the multipliers so far imply (`deep_chain`); every piece is then solved on its own. Each sweep gives a feasible point,
so the best one is a bound like any other; how far it lies from the optimum is not known.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from app.lipschitz.sdp.deep_chain import DeepChain
from app.lipschitz.sdp.interior import Iterate, Watch, minimise
from app.lipschitz.sdp.system import System

LEAST_DEPTH, LEAST_SIDE = 12, 2000
"""Shallower or smaller systems are solved as a whole: that is quick enough, and comes with a gap."""

_LENGTHS = (4, 4, 8)
"""Layers of a piece in the first sweeps; the last one stays."""
_FIRST_GAP = 0.1
"""Relative gap of the pieces while their norms are still far off."""
_MAX_SWEEPS = 16
_SETTLED = 3.0
"""A gain below this many gaps is the last: the next one was found to be several times smaller."""


def deep_chain(system: System, places: Sequence[slice]) -> DeepChain | None:
    """The chain to sweep over; None for systems better solved as a whole."""
    if len(places) < LEAST_DEPTH or system.size < LEAST_SIDE:
        return None
    return DeepChain.of(system, places)


def minimise_deep(
    system: System, chain: DeepChain, rho: Tensor, t: Tensor, *, gap: float, watch: Watch = lambda _: False
) -> Iterate:
    """The best strictly feasible point once a sweep gains little against `gap`, from a strictly feasible start.

    The result's `optimum` is 0, nothing being known about it; Z is S^-1 scaled, whose leading direction is the worst
    one, but no feasible point of the primal problem. The whole is solved at once where rounding spoils the first sweep.
    """
    best = Iterate(rho, t, t.new_zeros(1, 0, 0), torch.zeros_like(t), torch.zeros_like(rho))
    for sweep in range(_MAX_SWEEPS):
        found = _swept(chain, best, sweep, gap, watch)
        if found is None or not _is_interior(system, found):
            break
        gained = float(1.0 - found.rho / best.rho)
        best = found if gained > 0.0 else best
        if watch(best) or (sweep >= len(_LENGTHS) and gained < _SETTLED * gap):
            break
    if best.iterations == 0:
        return minimise(system, rho, t, gap=gap, watch=watch)
    return _with_energy(system, best)


def _swept(chain: DeepChain, best: Iterate, sweep: int, gap: float, watch: Watch) -> Iterate | None:
    """The point after one sweep with the norms that the best point implies; None where rounding spoils it.

    Every other sweep cuts half a piece earlier.
    """
    length = _LENGTHS[min(sweep, len(_LENGTHS) - 1)]
    cuts = range(length // 2 if sweep % 2 == 0 else length, len(chain.layers) - 1, length)
    piece_gap = _FIRST_GAP if sweep < len(_LENGTHS) else min(gap, _FIRST_GAP)
    own = best.t[0].split([len(layer.weight) for layer in chain.layers])
    try:
        metrics = chain.metrics(float(best.rho), own)
        rho, t, count = chain.solved(cuts, metrics, piece_gap, lambda: watch(best))
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        return None
    everywhere = torch.full_like(best.rho, rho), torch.cat(t)[None]
    return Iterate(*everywhere, best.z, best.s, best.optimum, best.iterations + count)


def _is_interior(system: System, found: Iterate) -> bool:
    _, info = torch.linalg.cholesky_ex(system.slack(found.rho, found.t))
    return not bool(info.any())


def _with_energy(system: System, best: Iterate) -> Iterate:
    """The iterate with Z and s read off S^-1 and t^-1."""
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(system.slack(best.rho, best.t)))
    mu = 1.0 / inverse.diagonal(dim1=1, dim2=2)[:, : system.inputs].sum(1)
    z = mu[:, None, None] * inverse
    return Iterate(best.rho, best.t, z, mu[:, None] / best.t, best.optimum, best.iterations)
