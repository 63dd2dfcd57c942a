"""LipSDP's inequality checked where the network is sparse: convolutions, wide inputs, deep chains; norms 2 and inf.

With weights r >= 0 of the inputs, multipliers t >= 0 and the matrices of `sparse_system`,

    K = diag(r) E_x + sum_i t_i (u_i w_i^T + w_i u_i^T),      [[K, C^T], [C, I]] positive semidefinite,

prove |C d|^2 <= sum_j r_j dx_j^2 for all trajectories: at most max(r) |dx|_2^2, and at most sum(r) |dx|_inf^2. With one
row c of C at a time the same holds for |c^T d|^2, so for the inf-norm of the output; K is factorised once for all rows.

K is computed in floating point, scaled to a diagonal near one by powers of two, lowered by c and factorised. With row i
of the factor having m_i entries, it is off by gamma_(m_i, m_j) times the product of its rows' lengths, so by at most
sum_i gamma_(m_i) K_ii / (1 - gamma_(m_i)) in the 2-norm, whatever the order (S. Rump, BIT 46 (2006), theorem 2.3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from .balls import OUTWARD, TINY, UNIT, Array, share
from .dissection import cells_of, dissected
from .elimination import Blocks, Plan
from .matrices import TooLarge
from .sparse_system import SparseSystem, between, gram

MOST_MEMORY = 2**28
"""Numbers: 2 GiB."""
MOST_OUTPUTS = 4096
LARGEST_SCALE = 2.0**400
SMALLEST = 2.0**-1022
"""Products below this may have lost all of their digits."""


@dataclass(frozen=True, eq=False)
class Inequality:
    """The matrix K of some multipliers, with what it may be off by, ready to be factorised; TooLarge if it cannot.

    `weights` `(n,)` and `t` `(M,)`.
    """

    system: SparseSystem
    plan: Plan
    weights: Array
    t: Array

    @cached_property
    def pre(self) -> sp.csr_array:
        """V, `(M, n + M)`."""
        rows: sp.csr_array = self.system.matrix[: self.system.neurons]
        return rows

    @cached_property
    def _both(self) -> Array:
        sums: Array = self.t * (self.system.lower + self.system.upper)
        return sums

    @cached_property
    def _curved(self) -> Array:
        """Without what is too small to be known and positive: K is no larger then."""
        products = 2.0 * self.t * (self.system.lower * self.system.upper)
        kept: Array = np.where((products > 0.0) & (products < SMALLEST), 0.0, products)
        return kept

    @property
    def _is_lost(self) -> bool:
        """Whether a product of multipliers and slopes underflowed: its error is then not relative to it."""
        lower, upper = self.system.lower, self.system.upper
        small = (lower + upper != 0.0) & (np.abs(self._both) < SMALLEST)
        bent = (lower < 0.0) & (upper > 0.0) & (np.abs(self._curved) < SMALLEST)
        return bool(((small | bent) & (self.t > 0.0)).any())

    @cached_property
    def matrix(self) -> sp.csr_array:
        n = self.system.inputs
        coupling = _below(between(-self._both, self.pre, np.ones(self.pre.shape[1])), n)
        total = sp.diags_array(np.concatenate([self.weights, 2.0 * self.t])) + coupling + coupling.T
        if self._curved.any():
            total = total + gram(self.pre, self._curved, self.system.layers)
        return total.tocsr()

    @cached_property
    def scale(self) -> Array:
        """Powers of two that bring K's diagonal next to one."""
        exponent = np.frexp(np.maximum(self.matrix.diagonal(), 0.0))[1]
        powers: Array = np.ldexp(np.ones(len(exponent)), -((exponent + 1) // 2))
        return powers

    @cached_property
    def blocks(self) -> Blocks:
        """K scaled, with the outputs as its border."""
        border = self.system.matrix[self.system.neurons :]
        scaled = between(self.scale, self.matrix, self.scale)
        return Blocks(self.plan, scaled, between(np.ones(border.shape[0]), border, self.scale))

    def levels(self, *, whole: bool) -> Array | None:
        """C K^-1 C^T in floating point, unproved: `(p, p)`, or its diagonal `(p,)`; None where K is not positive."""
        complement = self.blocks.complement(0.0, whole=whole)
        return None if complement is None else complement.numpy()

    def is_proved(self, *, whole: bool) -> NDArray[np.bool_]:
        """Whether the inequality is certain: for all outputs together, `(1,)`, or for each alone, `(p,)`."""
        count = 1 if whole else self.system.outputs
        nothing: NDArray[np.bool_] = np.zeros(count, dtype=bool)
        lowered = self._lowered(self.system.outputs if whole else 1)
        valid = np.isfinite(self.t).all() and np.isfinite(self.weights).all()
        if not (valid and (self.t >= 0.0).all() and (self.weights >= 0.0).all() and math.isfinite(lowered)):
            return nothing
        if self._is_lost:
            return nothing
        if not (self.scale > 1.0 / LARGEST_SCALE).all() or not (self.scale < LARGEST_SCALE).all():
            return nothing
        taken = self.blocks.complement(lowered, whole=whole)
        if taken is None or not bool(torch.isfinite(taken).all()):
            return nothing
        if not whole:
            alone: NDArray[np.bool_] = (1.0 - lowered - taken > 0.0).numpy()
            return alone
        rest = torch.eye(len(taken), dtype=torch.float64, device="cpu") * (1.0 - lowered) - taken
        factor, info = torch.linalg.cholesky_ex(rest)
        return np.array([int(info) == 0 and bool(torch.isfinite(factor).all())])

    def _lowered(self, border: int) -> float:
        """c: the factorisation's rounding, that in K, what the maps may be off by, and what underflows."""
        diagonal = np.abs(self.matrix.diagonal()) * self.scale**2
        relative = _gamma(2.0 * (self.plan.counts + border + 4.0))
        last = float(_gamma(np.array([2.0 * (len(diagonal) + border + 4.0)]))[0])
        if not last < 0.25:
            return math.inf
        factor = float((relative / (1.0 - relative) * diagonal).sum()) + border * last / (1.0 - last)
        longest = int(np.diff(self.pre.tocsc().indptr).max(initial=0)) if self._curved.any() else 0
        rounding = share(longest + 16) * float((self._majorant_times(self.scale) * self.scale).max(initial=0.0))
        return float(OUTWARD**2 * (factor + rounding + self._of_errors() + 8.0 * UNIT) + TINY * LARGEST_SCALE**2)

    def _majorant_times(self, s: Array) -> Array:
        """The sums of the magnitudes that make up K's entries, times a vector."""
        n, size = self.system.inputs, abs(self.pre)
        both, read = np.abs(self._both), size @ s
        total = np.concatenate([self.weights, 2.0 * self.t]) * s + size.T @ (both * s[n:])
        total[n:] += both * read
        product: Array = total + size.T @ (np.abs(self._curved) * read)
        return product

    def _of_errors(self) -> float:
        """Change of scaled K and C, in the 2-norm, when the maps change by their errors."""
        n, m = self.system.inputs, self.system.neurons
        root = np.sqrt(np.abs(self._curved))
        straight = bent = output = 0.0
        for off in self.system.off:
            columns = float(self.scale[off.columns].max()) * off.error
            if off.rows.start >= m:
                output += columns
                continue
            rows = slice(n + off.rows.start, n + off.rows.stop)
            straight += float((np.abs(self._both[off.rows]) * self.scale[rows]).max()) * columns
            bent += float(root[off.rows].max()) * columns
        whole = 0.0
        if bent:
            scaled = between(root, self.pre, self.scale)
            whole = float(np.sqrt(np.square(scaled.data).sum())) * (1.0 + share(scaled.nnz + 8))
        return straight + output + (2.0 * whole + bent) * bent


def _below(rows: sp.csr_array, above: int) -> sp.csr_array:
    """The rows with `above` empty ones before them."""
    return sp.vstack([sp.csr_array((above, rows.shape[1])), rows], format="csr")


def _gamma(terms: Array) -> Array:
    errors: Array = OUTWARD * terms * UNIT / np.maximum(1.0 - terms * UNIT, UNIT)
    return errors


def planned(system: SparseSystem) -> Plan:
    """How K is eliminated; TooLarge where that takes too much memory."""
    if system.outputs > MOST_OUTPUTS:
        raise TooLarge(f"{system.outputs} outputs exceed the limit of {MOST_OUTPUTS}")
    pattern, places = pattern_of(system), system.places[:-1]
    cells = cells_of(places, pattern)
    images = [] if cells is None else dissected(cells, pattern)
    ends = np.cumsum([0, *(len(positions) for _, positions in places)]).tolist()
    layers = [np.setdiff1d(np.arange(*pair), np.concatenate([*images, []])) for pair in pairwise(ends)]
    plan = Plan.of(pattern, images, layers, system.outputs)
    if plan.memory > MOST_MEMORY:
        raise TooLarge(f"a semidefinite constraint takes {plan.memory:.2g} numbers, more than {MOST_MEMORY:.2g}")
    return plan


def pattern_of(system: SparseSystem) -> sp.csr_array:
    """Ones where K may have entries."""
    n, m = system.inputs, system.neurons
    pre = system.matrix[:m].copy()
    pre.data = np.ones_like(pre.data)
    coupling = _below(pre, n)
    total = sp.eye_array(n + m) + coupling + coupling.T
    curved = (system.lower * system.upper) != 0.0
    if curved.any():
        total = total + gram(pre, curved.astype(np.float64), system.layers)
    return total.tocsr()
