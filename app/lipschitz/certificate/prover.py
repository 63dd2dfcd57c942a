"""Which arithmetic proves LipSDP's inequality of a piece: dense matrices where it is small, sparse ones elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from ..network.nodes import Activation, Node
from .balls import Array
from .forms import Slopes
from .matrices import TooLarge
from .semidefinite import LARGEST_SIDE, proves, system
from .sparse import Inequality, planned
from .sparse_system import sparse_system

DENSE_SIDE = 1200
"""Dense balls take a dozen products of that side, and keep every entry's own error."""

Proof = Callable[[float, Array], bool]
"""(rho, t) -> whether S(rho, t) >= 0 is certain, `t` `(M,)` of the free neurons in order."""


def prover(start: Node, end: Node, slopes: Mapping[Activation, Slopes], *, only_sparse: bool = False) -> Proof:
    """For the piece from `start` to `end`; TooLarge where neither arithmetic holds it.

    What sparse arithmetic does not prove is tried in dense one, whose errors are entry by entry, if that holds it and
    the multipliers are not known to have been proved by the sparse one.
    """
    free = sum(len(bounds.free) for bounds in slopes.values())
    if free + min(start.size, free) <= DENSE_SIDE:
        return partial(proves, system(start, end, slopes))
    dense = free + min(start.size, free) <= LARGEST_SIDE and not only_sparse
    try:
        proof = _sparse(start, end, slopes)
    except TooLarge:
        if not dense:
            raise
        return partial(proves, system(start, end, slopes))
    return lambda rho, t: proof(rho, t) or (dense and proves(system(start, end, slopes), rho, t))


def _sparse(start: Node, end: Node, slopes: Mapping[Activation, Slopes]) -> Proof:
    whole = sparse_system(start, end, slopes)
    plan = planned(whole)

    def proof(rho: float, t: Array) -> bool:
        return bool(Inequality(whole, plan, np.full(whole.inputs, rho), t).is_proved(whole=True)[0])

    return proof
