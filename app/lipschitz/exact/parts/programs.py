"""Certified norms of all Jacobians that parts of the domain allow: LipSDP with the open neurons alone, in batches.

Slopes are m + h s with |s| <= 1. With z = m v + e, |e| <= h |v|, written as h e, the arguments are v = U (x, e) and the
outputs C (x, e), the settled ones of a part folded once more (h = 0). For every t > 0 and weights r > 0,

    K = diag(r, t) - U^T diag(t) U > 0    implies    |y|^2 <= G (r |x|^2),    G = ||C K^-1 C^T||,

which is LipSDP's inequality [F19] with sum t_i (v_i^2 - e_i^2) >= 0. By Woodbury everything is of side M: with
N = diag(t)^(1/2) U D^(-1/2), D = diag(r, t) and C' = C D^(-1/2), G = ||C' C'^T + B^T S^-1 B||, S = I - N N^T and
B = N C'^T. In the 2-norm r = 1; in the inf-norm (and in the 1-norm, of the transposed system) L^2 is at most G_ii sum r
for the worst row i.

Multipliers are found by Adam, from those of the part that was halved, which stay feasible: so no half has a larger
bound. The proof trusts none of it. lambda <= lambda_min(S) is proved by a factorisation [R06]; for any Y near S^-1 B,
B^T S^-1 B = B^T Y + Y^T (B - S Y) + (B - S Y)^T S^-1 (B - S Y); and what the maps may be off by counts relative to
lambda: K^-1 <= 1 / lambda in its own scaling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...operators.cholesky import factorises
from ...operators.norm import Norm
from ...operators.rounding import UNIT, gamma
from ..folded import OUTWARD, Folded, size_of
from ..phases.bounds import norms
from .descent import Descent, Level
from .kinks import Kinks
from .part import Parts

WINDOW, GAIN = 25, 1e-3
"""Steps that have to lower some part's square by so much."""
ROOM = 0.5
"""Of the least eigenvalue, what is tried to be proved."""
UP = 1.0 + 2.0**-44
"""Covers the rounding of the last few operations."""
LEAST = 1e-140
"""Added to sums of squares: what underflows in them is less."""


@dataclass(frozen=True, eq=False)
class Maps:
    """U `(P, M, n + M)` and C `(P, p, n + M)` of parts, off by `u_error` and `c_error`, `(P,)`, in the 2-norm.

    `free` `(P, M)` are the neurons whose slope is open; rows of U and columns of the others are zero.
    """

    u: Tensor
    c: Tensor
    u_error: Tensor
    c_error: Tensor
    free: Tensor


@dataclass(frozen=True, eq=False)
class Programs:
    """Of a system; `p` is the norm, for "1" with the transposed system inside."""

    folded: Folded
    kinks: Kinks
    p: Norm

    @classmethod
    def of(cls, folded: Folded, kinks: Kinks, p: Norm) -> Programs:
        """For the norm p, with the system read backwards in the 1-norm."""
        return cls(folded.transposed if p == "1" else folded, kinks, p)

    def bounded(self, parts: Parts, steps: int) -> Parts:
        """The parts with bounds no larger than before, and the multipliers behind them."""
        maps = self._maps(*self.kinks.slopes(parts.lower, parts.upper))
        fixed = ~maps.free.any(1)
        t, weights = self._descended(maps, parts.t, parts.weights, steps)
        level, score = self._proved(maps, t, weights)
        level = torch.where(fixed, torch.minimum(level, self._of_fixed(maps)), level)
        scaled = torch.ldexp(level * (1.0 + 2.0**-50), torch.tensor(self.folded.exponent))
        bound = torch.fmin(parts.bound, scaled + LEAST)
        return replace(parts, bound=bound, t=t, weights=weights, score=score)

    def start(self, parts: Parts) -> Parts:
        """Feasible multipliers, the same for all neurons of an activation; weights of the inputs by the Jacobian."""
        maps = self._maps(*self.kinks.slopes(parts.lower, parts.upper))
        n, layers = self.folded.inputs, self.folded.layers
        weights = torch.ones(len(parts), n, dtype=torch.float64)
        if self.p != "2":
            jacobians = maps.c[:, :, :n].abs()
            worst = jacobians.sum(2).argmax(1)
            row = jacobians[torch.arange(len(parts)), worst]
            weights = row + 0.01 * row.mean(1, keepdim=True) + LEAST
            weights = weights / weights.sum(1, keepdim=True)
        theta, squares = torch.ones(maps.free.shape, dtype=torch.float64), maps.u.square()
        reads = (squares[:, :, :n] / weights[:, None]).sum(2)
        for layer in layers:
            total = (reads + (squares[:, :, n:] * theta[:, None]).sum(2))[:, layer].sum(1, keepdim=True)
            theta[:, layer] = 2.0 * len(layers) * total.clamp(min=LEAST)
        return replace(parts, t=1.0 / theta, weights=weights)

    def _maps(self, least: Tensor, most: Tensor) -> Maps:
        """U and C of parts with these slopes, `(P, M)` each."""
        folded, (count, n) = self.folded, (self.folded.count, self.folded.inputs)
        m, free = least / 2 + most / 2, least < most
        h = torch.where(free, torch.maximum(most - m, m - least) * (1 + 4 * UNIT), 0.0)
        unit = torch.eye(count, dtype=torch.float64).expand(len(m), -1, -1)
        between = folded.v[:, n:]
        right = torch.cat([folded.v[:, :n].expand(len(m), -1, -1), between * h[:, None]], 2)
        rows = torch.cat([right, unit], 2)
        for layer in folded.layers:
            rows[:, layer] += between[layer] @ (m[:, :, None] * rows)
        u, inverse = rows[:, :, : n + count], rows[:, :, n + count :]
        steep = OUTWARD * m.abs().amax(1)
        wide = OUTWARD * h.amax(1).clamp(min=1.0)
        share, size_v = 2.0 * gamma(count + 8), size_of(folded.v)
        own = OUTWARD * torch.linalg.matrix_norm(inverse)
        away = torch.linalg.matrix_norm(inverse - between @ (m[:, :, None] * inverse) - unit)
        away = OUTWARD * away + share * (1.0 + steep * size_v) * own + own * steep * folded.v_error * 2.0
        own = torch.where(away < 0.5, own / (1.0 - away.clamp(max=0.5)), torch.inf)
        size_u = OUTWARD * torch.linalg.matrix_norm(u) + LEAST
        residual = share * (size_v * wide + size_v * steep * size_u + size_u)
        u_error = OUTWARD * own * (folded.v_error * (wide + steep * size_u) + residual)
        c_z = folded.c[:, n:]
        c = torch.cat([folded.c[:, :n].expand(len(m), -1, -1), c_z * h[:, None]], 2) + c_z @ (m[:, :, None] * u)
        size_c = size_of(folded.c)
        c_error = folded.c_error * (wide + steep * (size_u + u_error)) + size_c * steep * u_error
        c_error = OUTWARD * (c_error + share * size_c * (wide + steep * size_u))
        return Maps(torch.where(free[:, :, None], u, 0.0), c, u_error, c_error, free)

    def _level(self, maps: Maps, t: Tensor, weights: Tensor) -> Level:
        root = t.sqrt()
        columns = torch.cat([weights.rsqrt(), 1.0 / root], 1)[:, None]
        n, c = root[:, :, None] * maps.u * columns, maps.c * columns
        s = torch.eye(n.shape[1], dtype=torch.float64) - n @ n.mT
        b = n @ c.mT
        factor, info = torch.linalg.cholesky_ex(s)
        y = torch.where((info == 0)[:, None, None], torch.cholesky_solve(b, factor), 0.0)
        if self.p == "2":
            g = torch.linalg.eigvalsh((c @ c.mT + b.mT @ y).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0))[:, -1]
        else:
            g = (c.square().sum(2) + (b * y).sum(1)).amax(1) * weights.sum(1)
        return Level(n, c, b, s, y, g, (info == 0) & torch.isfinite(g))

    def _descended(self, maps: Maps, t: Tensor, weights: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """Multipliers after some steps of Adam, the best ones met, and weights, which are 1 in the 2-norm."""
        first = self._level(maps, t, weights)
        descent = Descent.begin([t.log()] if self.p == "2" else [t.log(), weights.log()], first)
        before = descent.level
        for count in range(steps):
            if count % WINDOW == WINDOW - 1:
                if bool((descent.level >= before * (1.0 - GAIN)).all()):
                    break
                before = descent.level
            with torch.enable_grad():
                now = self._level(maps, *self._exponentials(descent.logs, weights))
                loss = torch.where(now.positive, now.g, 1.0).clamp(min=LEAST).log().sum()
                grads = torch.autograd.grad(loss, descent.logs)
            descent.step(now, grads)
        return self._exponentials(descent.best, weights)

    @staticmethod
    def _exponentials(logs: list[Tensor], weights: Tensor) -> tuple[Tensor, Tensor]:
        return logs[0].exp(), logs[1].exp() if len(logs) > 1 else weights

    def _proved(self, maps: Maps, t: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Certified bounds of ||J||, `(P,)`, in the system's own scale, and how much each neuron takes part."""
        level = self._level(maps, t, weights)
        n, c, b, s, y = level.n, level.c, level.b, level.s, level.y
        count, width = n.shape[1], n.shape[2]
        norm_n, norm_c, norm_b, norm_y = (OUTWARD * torch.linalg.matrix_norm(one) + LEAST for one in (n, c, b, y))
        share = 2.0 * gamma(width + count + 16)
        columns = torch.cat([weights.rsqrt(), torch.where(maps.free, t.rsqrt(), 0.0)], 1).amax(1)
        rows = torch.where(maps.free, t.sqrt(), 0.0).amax(1)
        off = OUTWARD * (rows * maps.u_error * columns + 8 * UNIT * norm_n)
        off_c = OUTWARD * (maps.c_error * columns + 8 * UNIT * norm_c)
        s_error, b_error = share * (norm_n.square() + 1.0), share * norm_n * norm_c
        least = self._least_eigenvalue(s) - s_error
        residual = b - s @ y
        rest = OUTWARD * torch.linalg.matrix_norm(residual) + s_error * norm_y + b_error
        rest = rest + share * (norm_b + (norm_n.square() + count) * norm_y)
        lost = share * (norm_c.square() + norm_b * norm_y + norm_y * rest) + 2.0 * b_error * norm_y
        lost = lost + s_error * norm_y.square() + rest.square() / least
        if self.p == "2":
            g = c @ c.mT + b.mT @ y + y.mT @ residual
            top = norms((g + g.mT) / 2, "2") * (1.0 + 4 * UNIT)
        else:
            top = (c.square().sum(2) + (b * y).sum(1) + (y * residual).sum(1)).amax(1)
        away = OUTWARD * (2.0 * off * (norm_n.clamp(max=1.0)) + off.square()) / least
        value = (UP * (top + lost).clamp(min=0.0)).sqrt() + off_c / least.clamp(min=LEAST).sqrt()
        value = value / (1.0 - away).clamp(min=LEAST).sqrt()
        if self.p != "2":
            value = value * (weights.sum(1) * (1.0 + 2.0 * gamma(width))).sqrt()
        good = level.positive & (least > 0.0) & (away < 0.5) & torch.isfinite(value)
        energy = y.square().sum(2) if self.p == "2" else y.square().amax(2)
        return torch.where(good, UP * value, torch.inf), torch.where(maps.free, energy, -1.0)

    def _least_eigenvalue(self, s: Tensor) -> Tensor:
        """A proved bound of the least eigenvalues of the matrices as computed, at most 1; negative where none is."""
        count = s.shape[1]
        finite = torch.isfinite(s).all(2).all(1)
        s = torch.where(finite[:, None, None], (s + s.mT) / 2, 0.0)
        guess = ROOM * torch.linalg.eigvalsh(s)[:, 0].clamp(max=1.0)
        share = gamma(2 * (count + 4))
        lowered = s - torch.diag_embed(guess[:, None].expand(-1, count))
        trace = s.diagonal(dim1=1, dim2=2).abs().sum(1) + count * guess.abs()
        proved = guess - OUTWARD * (share / (1.0 - share) * trace + 8 * UNIT)
        return torch.where(finite & factorises(lowered), proved, -1.0)

    def _of_fixed(self, maps: Maps) -> Tensor:
        """The norms of the Jacobians where no slope is open."""
        matrices = maps.c[:, :, : self.folded.inputs]
        kind: Norm = "2" if self.p == "2" else "inf"
        factor = 1.0 if self.p == "2" else math.sqrt(max(matrices.shape[1:])) * OUTWARD
        return norms(matrices, kind) + factor * maps.c_error
