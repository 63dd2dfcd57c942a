"""How far claims are raised until the check, which rounds by itself, and on other machines, accepts them."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ..network.nodes import Activation
from ..problem import Problem
from .balls import Array
from .matrices import array

RAISED = (0.0, 1e-11, 1e-9, 1e-7, 1e-5, 1e-3, 1e-1, 10.0, 1e3)
"""Shares, one after the other: the second is what the check of a matrix of side 1,000 asks for, the last ones are for
maps of which little more than an error is known."""
LEAST = tuple(2.0**e for e in (-900, -800, -700, -500, -200, -50, 0, 50, 200, 500))
"""A smaller norm than this may have to be claimed as this: the check's allowance for underflow is 2^-1000 an entry,
times what it is multiplied with."""
SHARES = (0.0, *(10.0**-k for k in range(11, 0, -1)), 1.0)
"""Steps from a point that is as good as feasible towards one that is so with room to spare."""
REPEATABLE = 1.0 + 1e-9
"""What is computed again may come out a little different on another machine."""
UNCHECKED = 1.0 + 1e-6
"""Of a norm that is proved, but that no time was left to check: far more than the check's own rounding."""
_WIDER = 1e-10
"""So may slopes on a domain."""


def stated_slopes(problem: Problem, node: Activation | None, lower: Tensor, upper: Tensor) -> tuple[Array, Array]:
    """Those of `widened_slopes`; as they are for the rectifier of a maximum, which is no node of the network."""
    return (array(lower), array(upper)) if node is None else widened_slopes(problem, node, lower, upper)


def widened_slopes(problem: Problem, node: Activation, lower: Tensor, upper: Tensor) -> tuple[Array, Array]:
    """On a bounded domain a little wider, and at least those of the ranges that the certificate proves."""
    least, most = array(lower), array(upper)
    if not problem.local.bounded:
        return least, most
    own = [array(end) for end in problem.local.slopes(node)]
    least, most = np.minimum(least, own[0]), np.maximum(most, own[1])
    whole = node.scalar.slope()
    return wider(least, most, whole.lower, whole.upper)


def wider(lower: Array, upper: Array, least: float, most: float) -> tuple[Array, Array]:
    """Ranges that differ from one number made a little wider, within `least` and `most`."""
    more = _WIDER * np.maximum(np.abs(lower), np.abs(upper)) * (lower < upper)
    wide = np.maximum(lower - more, least), np.minimum(upper + more, most)
    return np.minimum(lower, wide[0]), np.maximum(upper, wide[1])
