"""LipSDP of a chain of convolutions, checked frequency by frequency on a torus.

With one multiplier a channel and phase the inequality of `semidefinite` commutes with shifts on the torus, so it holds
if it holds for the symbols V_k of the convolutions (`torus`) at every frequency. In the maps x = z_0, z_1, ..., z_{K-1}
with slopes in [a, b] that contain 0 it is block tridiagonal:

    diagonal   k = 0: rho I,  k > 0: 2 T_k;  + 2 V_{k+1}^T T_{k+1} diag(a b) V_{k+1},  the last one - V_K^T V_K,
    below      - T_{k+1} diag(a + b) V_{k+1}.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..problem import Problem
from .balls import OUTWARD, TINY, UNIT, Array, Ball, stacked
from .cholesky import is_positive
from .fields import InvalidCertificate
from .matrices import TooLarge, array
from .record import MapRecord
from .torus import Layer, Torus

LARGEST_SIDE = 4000
"""Of one frequency's real matrix."""
MOST_WORK = 4e12
"""Multiplications for all frequencies: some minutes."""
MOST_POINTS = 2**18
"""Of the torus."""


@dataclass(frozen=True, eq=False)
class Neurons:
    """A map between two convolutions: slopes and multipliers of every channel and phase, `(w,)`."""

    lower: Array
    upper: Array
    multipliers: Array


def neurons(problem: Problem, torus: Torus, layers: Sequence[Layer], maps: Sequence[MapRecord]) -> list[Neurons]:
    """Every map but the ends; InvalidCertificate where the slopes stated do not hold 0 and those of the graph."""
    if len(maps) != len(layers) - 1:
        raise InvalidCertificate(f"the piece has {len(layers) - 1} maps between its convolutions")
    widths = torus.widths[1:-1]
    return [_neurons(problem, *each) for each in zip(layers, maps, widths, strict=False)]


def _neurons(problem: Problem, layer: Layer, given: MapRecord, width: int) -> Neurons:
    least, most = hull(problem, layer)
    if not (len(given.lower) == len(given.upper) == len(least) and len(given.multipliers) == width):
        raise InvalidCertificate(f"a map of {len(least)} channels needs {width} multipliers")
    lower, upper = np.array(given.lower, dtype=np.float64), np.array(given.upper, dtype=np.float64)
    if not bool(((lower <= least) & (most <= upper)).all()):
        raise InvalidCertificate("the slopes of a map do not cover 0 and those of the activation")
    phases = width // len(least)
    return Neurons(lower.repeat(phases), upper.repeat(phases), np.array(given.multipliers, dtype=np.float64))


def hull(problem: Problem, layer: Layer) -> tuple[Array, Array]:
    """Every channel's slopes with 0, `(C,)` each; without an activation the slope is 1 where it is not masked."""
    convolution, activation = layer
    images, channels = convolution.out_shape[:2]
    if activation is None:
        return np.zeros(channels), np.ones(channels)
    lower, upper = (array(end).reshape(images, channels, -1) for end in problem.local.slopes(activation))
    return np.minimum(lower.min((0, 2)), 0.0), np.maximum(upper.max((0, 2)), 0.0)


def proves(torus: Torus, maps: Sequence[Neurons], rho: float) -> bool:
    """Whether the inequality certainly holds at every frequency: sqrt(rho) then bounds the chain's constant."""
    side = 2 * sum(torus.widths[:-1])
    points = math.prod(torus.coarse)
    if side > LARGEST_SIDE or points > MOST_POINTS or points * side**3 > MOST_WORK:
        raise TooLarge(f"matrices of side {side} on a torus of {list(torus.coarse)} points")
    if not all((one.multipliers >= 0.0).all() for one in maps):
        return False
    doubled = [Neurons(*(np.tile(x, 2) for x in (one.lower, one.upper, one.multipliers))) for one in maps]
    return all(is_positive(_inequality(torus.symbols(w), doubled, rho)) for w in torus.frequencies())


def _inequality(symbols: Sequence[Ball], maps: Sequence[Neurons], rho: float) -> Ball:
    """The whole symmetric matrix; only its lower triangle is filled."""
    diagonals = [Ball.exact(rho * np.eye(symbols[0].middle.shape[1]))]
    below: list[Ball] = []
    for symbol, one in zip(symbols, maps, strict=False):
        t = one.multipliers
        if ((one.lower != 0.0) & (one.upper != 0.0)).any():
            diagonals[-1] = diagonals[-1] + symbol.transposed @ _weighted(symbol, one.lower, one.upper, 2.0 * t)
        below.append(-_weighted(symbol, one.lower + one.upper, t))
        diagonals.append(Ball.exact(np.diag(2.0 * t)))
    last = symbols[len(maps)]
    diagonals[-1] = diagonals[-1] + -(last.transposed @ last)
    return _assembled(diagonals, below)


def _weighted(matrix: Ball, *factors: Array) -> Ball:
    """diag(factors) times the matrix, one after another since their product may underflow; each was rounded once."""
    weighted = matrix
    for one in factors:
        weighted = weighted.scaled_rows(one)
    return Ball(weighted.middle, (weighted.radius + 4.0 * UNIT * weighted.magnitude) * OUTWARD + TINY)


def _assembled(diagonals: Sequence[Ball], below: Sequence[Ball]) -> Ball:
    sizes = [len(block.middle) for block in diagonals]
    rows = []
    for k, block in enumerate(diagonals):
        before = sum(sizes[: k - 1]) if k else 0
        parts = [below[k - 1], block] if k else [block]
        width = sum(part.middle.shape[1] for part in parts)
        zeros = [Ball.exact(np.zeros((n, sizes[k]))) for n in (before, sum(sizes) - before - width)]
        rows.append(stacked([zeros[0], *(part.transposed for part in parts), zeros[1]]).transposed)
    return stacked(rows)
