"""LipSDP's inequality checked from scratch: are these multipliers a proof?

With input x, neurons z_i of slopes in [a_i, b_i], pre-activations v and output y, all linear in xi = (x, z),

    S = rho E_x + U^T T W + W^T T U - C^T C,    U = E_z - diag(a) V,   W = E_z - diag(b) V,   T = diag(t) >= 0

being positive semidefinite proves ||dy||^2 <= rho ||dx||^2 for all trajectories [F19]. S is built in balls, in
the network's own coordinates, and proved by a Cholesky factorisation. Nothing here comes from the solver.

An input that is wider than what reads it, Y x, is replaced: with L L^T >= Y Y^T there is a K with Y = L K and
||K|| <= 1 (R. Douglas, Proc. AMS 17 (1966)), so x' = K x is no longer than x and the bound for L x' is one for Y x.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..network.nodes import Activation, Node
from .balls import Array, Ball, stacked
from .cholesky import covering_factor, is_positive
from .forms import BallForms, Form, Slopes, identity
from .matrices import TooLarge

LARGEST_SIDE = 6000
"""Of S: a dozen matrices of that side take about 4 GB."""


@dataclass(frozen=True, eq=False)
class System:
    """V and C over x and the M free neurons, in the activations' order, with their slopes `(M,)`."""

    inputs: int
    pre: Ball
    output: Ball
    lower: Array
    upper: Array


def system(start: Node, end: Node, slopes: Mapping[Activation, Slopes]) -> System:
    """The piece from `start` to `end`; `slopes` of all its activations, in topological order. TooLarge names a side."""
    forms = BallForms(start, slopes)
    free = {node: bounds.free for node, bounds in slopes.items()}
    _check(sum(len(positions) for positions in free.values()))
    parts = [_rows(forms.of(node.source), node.source.size, positions) for node, positions in free.items()]
    parts.append(_rows(forms.of(end), end.size, np.arange(end.size)))
    _narrow(parts, start)
    widths = {start: max((part[start].middle.shape[1] for part in parts if start in part), default=0)}
    widths |= {node: len(positions) for node, positions in free.items()}
    _check(sum(widths.values()))
    wide = [_side_by_side(part, widths) for part in parts]
    lower, upper = (
        np.concatenate([np.zeros(0), *(getattr(slopes[node], end)[positions] for node, positions in free.items())])
        for end in ("lower", "upper")
    )
    return System(widths[start], stacked([*wide[:-1], _nothing(sum(widths.values()))]), wide[-1], lower, upper)


def proves(constraint: System, rho: float, t: Array) -> bool:
    """Whether S(rho, t) >= 0 for certain, for t >= 0 of `(M,)`: then sqrt(rho) bounds the piece's constant."""
    size = constraint.output.middle.shape[1]
    neurons = Ball.exact(np.eye(size)[constraint.inputs :])
    u = neurons + -constraint.pre.scaled_rows(constraint.lower)
    w = neurons + -constraint.pre.scaled_rows(constraint.upper)
    half = u.transposed @ w.scaled_rows(t)
    growth = constraint.output.transposed @ constraint.output
    inputs = np.zeros((size, size))
    inputs.flat[: constraint.inputs * size : size + 1] = rho
    return is_positive(half + half.transposed + (Ball.exact(inputs) + -growth))


def _rows(form: Form[Ball], size: int, positions: NDArray[np.intp]) -> dict[Node, Ball]:
    """Some entries of a node's value."""
    return {base: (identity(size) if m is None else m).rows(positions) for base, m in form.items()}


def _narrow(parts: list[dict[Node, Ball]], start: Node) -> None:
    """Replaces a wide input by fewer coordinates, in all parts that read it."""
    readers = [part for part in parts if start in part]
    count = sum(len(part[start].middle) for part in readers)
    if not readers or readers[0][start].middle.shape[1] <= count:
        return
    _check(count)
    maps = stacked([part[start] for part in readers])
    factor = covering_factor(maps @ maps.transposed)
    if factor is None:
        return
    first = 0
    for part in readers:
        last = first + len(part[start].middle)
        part[start] = Ball.exact(factor[first:last])
        first = last


def _check(side: int) -> None:
    if side > LARGEST_SIDE:
        raise TooLarge(f"a semidefinite constraint of side {side} exceeds the limit of {LARGEST_SIDE}")


def _side_by_side(part: Mapping[Node, Ball], widths: Mapping[Node, int]) -> Ball:
    """The maps from all variables, zeros where there is none."""
    rows = len(next(iter(part.values())).middle) if part else 0
    blocks = [part.get(base) or Ball.exact(np.zeros((rows, width))) for base, width in widths.items()]
    return stacked([block.transposed for block in blocks]).transposed


def _nothing(columns: int) -> Ball:
    return Ball.exact(np.zeros((0, columns)))
