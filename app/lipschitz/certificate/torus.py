"""A chain of zero-padded convolutions as one of cyclic ones, and these as one small matrix a frequency.

Along one axis let convolution k = 1..K read n_(k-1) points, y[j] = sum_t kernel[t] x[s_k j + d_k t - lo_k], and let the
map after it lie on the first n_k points of a cycle of N_k, where

    N_(k-1) = s_k N_k,    N_(k-1) >= n_(k-1) + max(lo_k, hi_k),    N_K >= n_K.

An output j < n_k reads no further than lo_k before and hi_k behind the map, which on the cycle is not yet the map
again, so the convolution taken cyclically agrees with the zero-padded one there. Elsewhere it may give anything, and
the neurons there get the slope 0, which their ranges must contain. So all differences of the chain are among those
of the cyclic chain.

The cyclic chain commutes with shifts by one coarse point, of which each map has N = N_K in number; the P_k = N_k / N
points of a map to a coarse one are its phases. If V_b leads from channels and phases at coarse point a + b to those at
a, the discrete Fourier transform, a unitary one, leaves V(w) = sum_b V_b exp(2 pi i w b / N) at each frequency w, and
V(-w) is the conjugate of V(w). In several dimensions all this holds for every axis.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from ..network.nodes import Activation, Affine, Node
from ..operators.base import LinearOperator
from ..operators.composite import Composed
from ..operators.convolution import Convolution
from ..operators.reshape import Reshape
from .balls import UNIT, Array, Ball, stacked
from .fields import InvalidCertificate
from .matrices import array

Shape = tuple[int, ...]
Layer = tuple[Convolution, Activation | None]
"""A convolution and the activation of its output, if there is one."""

_TRIGONOMETRIC = 64.0 * UNIT
"""Cosines and sines are taken to be this near: the angle is off by less than 16 u, the library's function by 2 u."""


def layers_of(start: Node, nodes: Sequence[Node]) -> list[Layer]:
    """The piece as convolutions, each followed by an activation or by the next; InvalidCertificate for any other."""
    layers: list[Layer] = []
    source = start
    for node in nodes:
        if node.sources != (source,):
            raise InvalidCertificate("the piece is no chain")
        source = node
        if isinstance(node, Affine):
            layers += [(convolution, None) for convolution in _convolutions(node.terms[0].operator)]
        elif isinstance(node, Activation) and layers and layers[-1][1] is None:
            layers[-1] = (layers[-1][0], node)
        else:
            raise InvalidCertificate("the piece holds more than convolutions with activations between")
    if len(layers) < 2 or layers[-1][1] is not None:
        raise InvalidCertificate("the piece does not end in the second or a later convolution")
    if any(one.out_shape != two.in_shape for (one, _), (two, _) in pairwise(layers)):
        raise InvalidCertificate("a convolution reads the one before in another shape")
    return layers


def _convolutions(operator: LinearOperator) -> list[Convolution]:
    """Innermost first; a reshape is the identity on flat vectors."""
    parts = operator.parts[::-1] if isinstance(operator, Composed) else (operator,)
    convolutions = [part for part in parts if isinstance(part, Convolution)]
    if not convolutions or not all(isinstance(part, Convolution | Reshape) for part in parts):
        raise InvalidCertificate("a map of the piece is no convolution")
    return convolutions


@dataclass(frozen=True, eq=False)
class Torus:
    """The cycles of all maps of some convolutions: `coarse` holds N for every axis."""

    convolutions: tuple[Convolution, ...]
    coarse: Shape

    def check(self) -> None:
        """InvalidCertificate unless every map has room on its cycle."""
        if len(self.coarse) != len(self.convolutions[0].stride) or min(self.coarse) < 1:
            raise InvalidCertificate("the torus has another number of axes")
        for c, phases in zip(self.convolutions, self.phases, strict=False):
            needed = (n + max(padding) for n, padding in zip(c.in_shape[2:], c.padding, strict=True))
            if any(p * n < least for p, n, least in zip(phases, self.coarse, needed, strict=True)):
                raise InvalidCertificate("the torus is too small for a map and its padding")
        if any(n < least for n, least in zip(self.coarse, self.convolutions[-1].out_shape[2:], strict=True)):
            raise InvalidCertificate("the torus is too small for the last map")

    @cached_property
    def phases(self) -> list[Shape]:
        """P_k of every map, k = 0..K, for every axis."""
        phases = [(1,) * len(self.coarse)]
        for c in reversed(self.convolutions):
            phases.insert(0, tuple(p * s for p, s in zip(phases[0], c.stride, strict=True)))
        return phases

    @cached_property
    def widths(self) -> list[int]:
        """Channels times phases of every map, k = 0..K."""
        channels = [self.convolutions[0].in_shape[1], *(c.out_shape[1] for c in self.convolutions)]
        return [c * math.prod(phases) for c, phases in zip(channels, self.phases, strict=True)]

    def frequencies(self) -> Iterator[Shape]:
        """One of every pair w, -w."""
        for w in itertools.product(*map(range, self.coarse)):
            if w <= tuple(-x % n for x, n in zip(w, self.coarse, strict=True)):
                yield w

    def symbols(self, frequency: Shape) -> list[Ball]:
        """V(w) of every convolution, as real matrices on real parts, then imaginary parts."""
        return [self._real(couplings, frequency) for couplings in self._couplings]

    def _real(self, couplings: Couplings, frequency: Shape) -> Ball:
        rows = [Ball(row, np.full_like(row, _TRIGONOMETRIC)) for row in self._waves(couplings.steps, frequency)]
        cosine, sine = (_reshaped(row @ couplings.entries, couplings.shape) for row in rows)
        left, right = stacked([cosine, sine]), stacked([-sine, cosine])
        return stacked([left.transposed, right.transposed]).transposed

    def _waves(self, steps: Sequence[Shape], frequency: Shape) -> tuple[Array, Array]:
        """cos and sin of 2 pi w b / N for every step b, `(1, B)`, from whole numbers of turns / lcm(N)."""
        turn = math.lcm(*self.coarse)
        counts = [sum(w * b * (turn // n) for w, b, n in zip(frequency, b, self.coarse, strict=True)) for b in steps]
        near = [count % turn - (turn if 2 * (count % turn) > turn else 0) for count in counts]
        angles = [2.0 * math.pi * count / turn for count in near]
        return np.array([[math.cos(x) for x in angles]]), np.array([[math.sin(x) for x in angles]])

    @cached_property
    def _couplings(self) -> list[Couplings]:
        return [
            _couplings(c, inner, outer, self.coarse)
            for c, (inner, outer) in zip(self.convolutions, pairwise(self.phases), strict=True)
        ]


@dataclass(frozen=True, eq=False)
class Couplings:
    """V_b for the steps b that occur: row b of `entries` is V_b of `shape`, flattened."""

    steps: list[Shape]
    entries: Ball
    shape: tuple[int, int]


def _couplings(c: Convolution, inner: Shape, outer: Shape, coarse: Shape) -> Couplings:
    """Output phase r reads the point s r + d t - lo, which is phase p of coarse point b. `error` bounds every weight's.

    No two taps of one output lead to the same phase of the same coarse point unless the kernel wraps around the cycle;
    then they add up.
    """
    kernel = array(c.kernel).reshape(*c.kernel.shape[:2], -1)
    per_group = kernel.shape[0] // c.groups
    shape = kernel.shape[0] * math.prod(outer), c.in_shape[1] * math.prod(inner)
    couplings: dict[Shape, tuple[Array, Array]] = {}
    for (row, phase), (k, tap) in itertools.product(enumerate(_grid(outer)), enumerate(_grid(c.taps))):
        settings = zip(phase, tap, c.stride, c.dilation, c.padding, inner, coarse, strict=True)
        read = [(*divmod(s * r + d * t - lo, p), n) for r, t, s, d, (lo, _), p, n in settings]
        step = tuple(b % n for b, _, n in read)
        column = int(np.ravel_multi_index([p for _, p, _ in read], inner))
        values, radii = couplings.setdefault(step, (np.zeros(shape), np.zeros(shape)))
        for o in range(kernel.shape[0]):
            first = o // per_group * kernel.shape[1]
            at = slice(first * math.prod(inner) + column, None, math.prod(inner))
            place = o * math.prod(outer) + row
            size = kernel.shape[1]
            total = values[place, at][:size] + kernel[o, :, k]
            radii[place, at][:size] += c.error + UNIT * np.abs(total)
            values[place, at][:size] = total
    entries = Ball(
        np.stack([v.ravel() for v, _ in couplings.values()]), np.stack([r.ravel() for _, r in couplings.values()])
    )
    return Couplings(list(couplings), Ball(entries.middle, entries.radius * (1.0 + 2.0**-20)), shape)


def _grid(shape: Shape) -> list[Shape]:
    return list(itertools.product(*map(range, shape)))


def _reshaped(row: Ball, shape: tuple[int, int]) -> Ball:
    return Ball(row.middle.reshape(shape), row.radius.reshape(shape))
