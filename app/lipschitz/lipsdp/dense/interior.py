"""A primal-dual interior-point method for LipSDP: HKM direction, Mehrotra's predictor and corrector.

    minimise rho  s.t.  S(rho, t) >= 0, t >= 0;    maximise <C^T C, Z>  s.t.  <E_x, Z> = 1, <A_i, Z> + s_i = 0

with Z >= 0, s >= 0. (rho, t) stays strictly feasible throughout, so every iterate bounds the constant; Z becomes
feasible with the first full step, and then bounds from below what any multipliers could give.
C. Helmberg, F. Rendl, R. Vanderbei, H. Wolkowicz, SIAM J. Optim. 6 (1996); S. Mehrotra, SIAM J. Optim. 2 (1992).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..system import System
from .boundary import Positive, longest_positive
from .forms import Forms, trace

MAX_ITERATIONS = 60
_RETREATS = 16
_FEASIBLE = 1e-7
"""Residual of the primal constraints, relative to 1, up to which its objective counts as a bound."""


@dataclass(frozen=True, eq=False)
class Iterate:
    """A strictly feasible (rho, t) with the primal (Z, s); `optimum` bounds the least rho from below, `(P,)`."""

    rho: Tensor
    t: Tensor
    z: Tensor
    s: Tensor
    optimum: Tensor
    iterations: int = 0

    @property
    def gap(self) -> Tensor:
        """Relative distance of rho to the least one, at most, `(P,)`."""
        return (self.rho - self.optimum) / self.rho


@dataclass(frozen=True, eq=False)
class _Direction:
    """Changes of rho, t, Z and s."""

    rho: Tensor
    t: Tensor
    z: Tensor
    s: Tensor


NotPositive: type[RuntimeError] = torch.linalg.LinAlgError  # type: ignore[attr-defined]
"""Raised where scales lie too many decades apart for a strictly feasible start in floating point."""
Watch = Callable[[Iterate], bool]
"""Called after every iteration; True stops."""


def minimise(system: System, rho: Tensor, t: Tensor, *, gap: float, watch: Watch = lambda _: False) -> Iterate:
    """The iterate at the relative gap `gap`, or the last one that arithmetic allows, from a strictly feasible start."""
    slack = _factorised(system.slack(rho, t))
    mu = 1.0 / system.total(trace(slack.inverse[:, : system.inputs, : system.inputs]))
    now = Iterate(rho, t, mu[:, None, None] * slack.inverse, mu[:, None] / t, torch.zeros_like(rho))
    z = _factorised(now.z)
    for _ in range(MAX_ITERATIONS):
        of_z = Forms.of(system, now.z)
        now = replace(now, optimum=_optimum(system, now, of_z))
        if watch(now) or bool((now.gap <= gap).all()):
            return now
        step = _Newton(system, now, slack, z, of_z).step(gap)
        if step is None:
            return now
        now, slack, z = step
    return now


def _factorised(matrix: Tensor) -> Positive:
    return Positive(matrix, torch.linalg.cholesky(matrix))


def _optimum(system: System, now: Iterate, of_z: Forms) -> Tensor:
    """The primal objective, once the primal constraints hold."""
    x, each = of_z.against_constraints(system)
    residual = torch.maximum((x - 1.0).abs(), ((each + now.s).abs() * system.moving).amax(1))
    return torch.where(
        residual < _FEASIBLE, torch.maximum(_inner(system, now.z, system.cost), now.optimum), now.optimum
    )


def _inner(system: System, a: Tensor, b: Tensor) -> Tensor:
    return system.total((a * b).sum((1, 2)))


class _Newton:
    """One iteration: the Schur matrix is factorised once and solved for predictor and corrector."""

    def __init__(self, system: System, now: Iterate, slack: Positive, z: Positive, of_z: Forms) -> None:
        self.system, self.now, self.slack, self.z, self.of_z = system, now, slack, z, of_z
        self.of_inverse = Forms.of(system, slack.inverse)
        self.degree = system.size * (system.batch if system.coupled else 1) + system.multipliers
        self.mu = (_inner(system, now.z, slack.matrix) + (now.s * now.t).sum(1)) / self.degree

    def step(self, gap: float) -> tuple[Iterate, Positive, Positive] | None:
        """The next iterate with its S and Z; None where rounding ends the progress."""
        self.schur, self.scale, singular = self._schur()
        if bool(singular.any()):
            return None
        none = torch.zeros_like(self.mu)
        predictor = self._direction(none, None)
        sigma = self._centring(predictor)
        return self._moved(self._direction(sigma * self.mu, predictor), gap)

    def _schur(self) -> tuple[Tensor, Tensor, Tensor]:
        """The Schur matrix of (rho, t), scaled to a unit diagonal and factorised."""
        x, z, system = self.of_inverse, self.of_z, self.system
        inner = z.uw.mT * x.uw
        inner += z.ww * x.uu
        inner += z.uu * x.ww
        inner += z.uw * x.uw.mT
        border = system.total(system.per_multiplier((x.xw * z.xu + x.xu * z.xw).sum(2)))
        if system.groups is not None:
            inner = system.per_multiplier(system.per_multiplier(inner).mT)
        inner = system.total(inner)
        inner.diagonal(dim1=1, dim2=2).add_(self.now.s / self.now.t)
        m = system.multipliers + 1
        schur = inner.new_empty(len(inner), m, m)
        schur[:, 1:, 1:] = inner
        schur[:, 0, 1:] = schur[:, 1:, 0] = border
        schur[:, 0, 0] = system.total((x.xx * z.xx).sum((1, 2)))
        scale = schur.diagonal(dim1=1, dim2=2).clamp(min=1e-300).rsqrt()
        factor, info = torch.linalg.cholesky_ex(schur.mul_(scale[:, :, None]).mul_(scale[:, None]))
        return factor, scale, info

    def _direction(self, target: Tensor, predictor: _Direction | None) -> _Direction:
        """The step to complementarity `target`, `(P,)`, with the predictor's second-order term where there is one."""
        now, system = self.now, self.system
        to_rho, to_t = self.of_inverse.against_constraints(system)
        right_rho = target * to_rho - 1.0
        right_t = target[:, None] * (to_t + 1.0 / now.t)
        z, s = target[:, None, None] * self.slack.inverse - now.z, target[:, None] / now.t - now.s
        if predictor is not None:
            curve = self._symmetric(predictor.z, system.pre(predictor.z), predictor)
            bend = predictor.s * predictor.t / now.t
            curve_rho, curve_t = system.against_constraints(curve)
            right_rho, right_t = right_rho - curve_rho, right_t - curve_t - bend
            z, s = z - curve, s - bend
        right = torch.cat([right_rho[:, None], right_t * system.moving], 1)
        direction = torch.cholesky_solve((self.scale * right)[:, :, None], self.schur)[:, :, 0] * self.scale
        step = _Direction(direction[:, 0], direction[:, 1:], z, s)
        return replace(step, z=z - self._symmetric(now.z, self.of_z.vd, step), s=s - now.s * step.t / now.t)

    def _symmetric(self, d: Tensor, vd: Tensor, step: _Direction) -> Tensor:
        """The symmetric part of D dS S^-1."""
        product = self.system.times_step(d, vd, step.rho, step.t) @ self.slack.inverse
        return (product + product.mT).mul_(0.5)

    def _longest(self, step: _Direction, slack: Tensor) -> tuple[Tensor, Tensor]:
        """How far Z and s, and S and t, may go."""
        primal = self.system.least(self.z.longest_step(step.z))
        dual = self.system.least(self.slack.longest_step(slack))
        now = self.now
        return torch.minimum(primal, longest_positive(now.s, step.s)), torch.minimum(
            dual, longest_positive(now.t, step.t)
        )

    def _centring(self, step: _Direction) -> Tensor:
        """Mehrotra's sigma: little where the predictor goes far."""
        now, slack = self.now, self.system.step(step.rho, step.t)
        primal, dual = (alpha.clamp(max=1.0) for alpha in self._longest(step, slack))
        inner = _inner(self.system, now.z, self.slack.matrix) + primal * _inner(self.system, step.z, self.slack.matrix)
        inner = inner + dual * (_inner(self.system, now.z, slack) + primal * _inner(self.system, step.z, slack))
        linear = ((now.s + primal[:, None] * step.s) * (now.t + dual[:, None] * step.t)).sum(1)
        ratio = ((inner + linear) / self.degree / self.mu).clamp(1e-4, 1.0)
        return torch.where(torch.minimum(primal, dual) < 0.1, 0.8, ratio.square())

    def _moved(self, step: _Direction, gap: float) -> tuple[Iterate, Positive, Positive] | None:
        """The step, as long as positivity allows; problems that are done stay where they are."""
        now, direction = self.now, self.system.step(step.rho, step.t)
        primal, dual = self._longest(step, direction)
        share = 0.9 + 0.09 * torch.minimum(primal, dual).clamp(max=1.0)
        active = (now.gap > gap).to(share.dtype)
        primal, dual = ((share * alpha).clamp(max=1.0) * active for alpha in (primal, dual))
        z, slack = self._backed(self.z, step.z, primal), self._backed(self.slack, direction, dual)
        if z is None or slack is None:
            return None
        (primal, z_matrix), (dual, slack_matrix) = z, slack
        moved = Iterate(
            now.rho + dual * step.rho,
            now.t + dual[:, None] * step.t,
            z_matrix.matrix,
            now.s + primal[:, None] * step.s,
            now.optimum,
            now.iterations + 1,
        )
        return moved, slack_matrix, z_matrix

    def _backed(self, known: Positive, direction: Tensor, alpha: Tensor) -> tuple[Tensor, Positive] | None:
        """The matrix after the step, which gets shorter until there is a factor."""
        for _ in range(_RETREATS):
            matrix = known.matrix + alpha[:, None, None] * direction
            factor, lost = torch.linalg.cholesky_ex(matrix)
            if not bool(lost.any()):
                return alpha, Positive(matrix, factor)
            alpha = torch.where(self.system.least(-lost) < 0, 0.8 * alpha, alpha)
        return None
