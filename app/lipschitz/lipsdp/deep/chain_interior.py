"""The primal-dual method of `interior.py` for deep chains, where S and all that matters of Z are block tridiagonal.

Z is kept as its block tridiagonal entries and completed to the largest determinant (Fukuda et al. 2001), so the cost
of an iteration is that of the Schur matrix: it is formed by `chain_schur` and factorised.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from app.lipschitz.lipsdp.deep.chain_schur import schur
from app.lipschitz.lipsdp.deep.plain_chain import PlainChain
from app.lipschitz.lipsdp.deep.tridiagonal import Semiseparable, Tridiagonal, completion, inverse, is_positive, sandwich
from app.lipschitz.lipsdp.found import Found, Watch

MAX_ITERATIONS = 60
_FEASIBLE = 1e-6
"""What rounding may cost of the primal objective, relative."""
_HALVINGS = 7
_NUDGE = 1e-5
"""Share of the way to the boundary over which a second derivative is taken as a difference."""
_LEAST_STEP = 1e-3
"""Shorter ones are rounding's."""

_STALLED, _PATIENCE = 0.8, 4
"""So many iterations that each leave more than this share of the gap are the last: rounding has the rest."""


@dataclass(frozen=True, eq=False)
class _Point:
    """S(rho, t) with its inverse, Z with its completion, and s."""

    rho: float
    t: Tensor
    slack: Tridiagonal
    x: Semiseparable
    z: Tridiagonal
    of_z: Semiseparable
    s: Tensor

    @property
    def mu(self) -> float:
        """Mean complementarity."""
        degree = sum(len(block) for block in self.z.diagonal) + len(self.s)
        return (self.z.inner(self.slack) + float(self.s @ self.t)) / degree


@dataclass(frozen=True, eq=False)
class _Direction:
    """Changes of rho, t, S, Z and s."""

    rho: float
    t: Tensor
    slack: Tridiagonal
    z: Tridiagonal
    s: Tensor


def minimise_chain(chain: PlainChain, rho: float, t: Tensor, *, gap: float, watch: Watch = lambda _: False) -> Found:
    """The best point at the relative gap `gap`, or once arithmetic allows no more, from a strictly feasible one."""
    slack = chain.slack(rho, t)
    x = inverse(slack)
    if x is None:
        raise ValueError("the start is not strictly feasible")
    mu = 1.0 / float(x.diagonal[0].trace())
    now: _Point | None = _Point(rho, t, slack, x, x.near.times(mu), x.times(mu), mu / t)
    best = Found(rho, t, _energy(x.near.times(mu)), 0.0, 0)
    stalled = 0
    for count in range(MAX_ITERATIONS):
        if now is None:
            break
        before = best.gap
        if now.rho < best.rho:
            best = replace(best, rho=now.rho, t=now.t)
        optimum = max(best.optimum, _optimum(chain, now))
        best = replace(best, energy=_energy(now.z), optimum=optimum, iterations=count)
        stalled = stalled + 1 if 1.0 > best.gap > _STALLED * before else 0
        if watch(best) or best.gap <= gap or stalled == _PATIENCE:
            break
        now = _Newton(chain, now).step()
    return best


def _energy(z: Tridiagonal) -> Tensor:
    return torch.cat([block.diagonal() for block in z.diagonal]) / z.diagonal[0].trace()


def _optimum(chain: PlainChain, now: _Point) -> float:
    """The primal objective once Z is feasible, up to scale and to rounding, whose price at t is taken off."""
    inputs, each = chain.against_constraints(now.z)
    value = float((now.z.diagonal[-1] * chain.cost).sum())
    lost = float(now.t @ each.clamp(min=0.0))
    return (value - lost) / inputs if lost < _FEASIBLE * value else 0.0


class _Newton:
    """One iteration: the Schur matrix is factorised once and solved for predictor and corrector."""

    def __init__(self, chain: PlainChain, now: _Point) -> None:
        self.chain, self.now, self.mu = chain, now, now.mu
        self.to_rho, self.to_t = chain.against_constraints(now.x.near)

    def step(self) -> _Point | None:
        """The next point; None where rounding ends the progress."""
        matrix = schur(self.chain, self.now.x, self.now.of_z)
        matrix.diagonal()[1:] += self.now.s / self.now.t
        self.scale = matrix.diagonal().clamp(min=1e-300).rsqrt()
        matrix.mul_(self.scale[:, None]).mul_(self.scale)
        self.factor, info = torch.linalg.cholesky_ex(matrix.mT)
        if int(info) != 0:
            return None
        predictor = self._direction(0.0, None, None)
        lengths = self._longest(predictor)
        sigma = self._centring(predictor, *lengths)
        return self._moved(self._direction(sigma * self.mu, predictor, self._curve(predictor, lengths[1])))

    def _direction(self, target: float, predictor: _Direction | None, curve: Tridiagonal | None) -> _Direction:
        """The step to complementarity `target`, with the predictor's second-order terms where there are any."""
        now, chain = self.now, self.chain
        right_rho, right_t = target * self.to_rho - 1.0, target * (self.to_t + 1.0 / now.t)
        z, s = now.x.near.times(target).plus(-1.0, now.z), target / now.t - now.s
        if predictor is not None and curve is not None:
            bend = predictor.s * predictor.t / now.t
            curve_rho, curve_t = chain.against_constraints(curve)
            right_rho, right_t = right_rho - curve_rho, right_t - curve_t - bend
            z, s = z.plus(-1.0, curve), s - bend
        right = torch.cat([right_t.new_tensor([right_rho]), right_t])
        found = torch.cholesky_solve((self.scale * right)[:, None], self.factor)[:, 0] * self.scale
        rho, t = float(found[0]), found[1:]
        slack = chain.step(rho, t)
        return _Direction(rho, t, slack, z.plus(-1.0, sandwich(now.of_z, slack, now.x)), s - now.s * t / now.t)

    def _curve(self, step: _Direction, reach: float) -> Tridiagonal | None:
        """dZ dS S^-1 of the predictor, with Z dS S^-1 for its symmetric part: right on the central path.

        S^-1 dS S^-1 is the derivative of the inverse along -dS.
        """
        share = _NUDGE * min(reach, 1.0)
        nudged = inverse(self.now.slack.plus(-share, step.slack))
        if nudged is None:
            return None
        once = self.now.z.plus(1.0, step.z).times(-1.0)
        twice = sandwich(self.now.of_z, step.slack, nudged).plus(-1.0, once).times(1.0 / share)
        return once.plus(1.0, twice).times(-1.0)

    def _longest(self, step: _Direction) -> tuple[float, float]:
        """How far, up to one, Z and s, and S and t, may go."""
        now = self.now
        primal = _longest(lambda share: completion(now.z.plus(share, step.z)) is not None)
        dual = _longest(lambda share: is_positive(now.slack.plus(share, step.slack)))
        return min(primal, _until_zero(now.s, step.s)), min(dual, _until_zero(now.t, step.t))

    def _centring(self, step: _Direction, primal: float, dual: float) -> float:
        """Mehrotra's sigma: little where the predictor goes far."""
        if min(primal, dual) < 0.1:
            return 0.8
        now = self.now
        ahead = replace(now, z=now.z.plus(primal, step.z), s=now.s + primal * step.s)
        ahead = replace(ahead, slack=now.slack.plus(dual, step.slack), t=now.t + dual * step.t)
        return min(max(ahead.mu / self.mu, 1e-4), 1.0) ** 2

    def _moved(self, step: _Direction) -> _Point | None:
        """The point after the step."""
        now, lengths = self.now, self._longest(step)
        share = 0.9 + 0.09 * min(lengths)
        primal, dual = (share * length for length in lengths)
        rho, t = now.rho + dual * step.rho, now.t + dual * step.t
        slack, z = self.chain.slack(rho, t), now.z.plus(primal, step.z)
        x, of_z = inverse(slack), completion(z)
        if x is None or of_z is None or max(lengths) < _LEAST_STEP:
            return None
        return _Point(rho, t, slack, x, z, of_z, now.s + primal * step.s)


def _longest(holds: Callable[[float], bool]) -> float:
    """About the largest share up to one for which it holds, as it does for zero."""
    if holds(1.0):
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0 if low > 0.0 else high / 3.0
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _until_zero(x: Tensor, direction: Tensor) -> float:
    """The largest share up to one with x + share d >= 0."""
    rate = float((direction / x).min())
    return 1.0 if rate > -1.0 else -1.0 / rate
