"""LipSDP of wide chains by quasi-Newton descent, for sizes at which no second-order method fits.

For multipliers t = rho tau and K = S(1, tau) + C^T C the least rho is lambda_max(C K^-1 C^T): convex in tau, with as
few eigenvalues as there are outputs, and one factorisation of what `elimination.py` leaves of K per value and gradient.
The eigenvalues' q-norm in its place, with a barrier for K, is smooth; L-BFGS in log tau follows it for rising q.

K^-1 C^T Q C K^-1, with the gradient's weights Q of the eigenvalues, and the barrier's multiple of K^-1 are nearly
feasible for the primal problem together. They are seen as trajectories, p of the one and a sample of the other;
projected layer by layer onto what the slopes allow these are feasible, and bound the optimum from below.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from app.lipschitz.lipsdp.deep.elimination import Reduction, eliminated
from app.lipschitz.lipsdp.deep.plain_chain import PlainChain
from app.lipschitz.lipsdp.found import Found, Watch
from app.lipschitz.lipsdp.wide.descent import descend

_POWERS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0)
_BARRIER = 5.0
"""Weight of -log det K, over the power and the side: without it the descent ends where K is singular."""
_STEPS = 50
"""Most steps with one power."""
_SETTLED = 0.05
"""Less gain than this over q, in some steps, ends the work on a power: the next one gains more."""
_SAMPLES = 64
"""Trajectories that stand for the barrier's part."""
_ROOM = 1e-8
"""Relative distance of the result to the boundary of the feasible set: rounding needs some to prove it."""


@dataclass(frozen=True, eq=False)
class _Value:
    """log of the q-norm of the eigenvalues and its gradient in log tau; the largest eigenvalue; trajectories."""

    value: float
    gradient: Tensor
    rho: float
    trajectories: Sequence[Tensor]
    reduced: Reduction
    barrier: float


def minimise_wide(
    chain: PlainChain,
    rho: float,
    t: Tensor,
    *,
    gap: float,
    groups: Tensor | None = None,
    watch: Watch = lambda _: False,
) -> Found:
    """The best strictly feasible point at the relative gap `gap`, or when told to stop, from a feasible one.

    `t` `(M,)` is the same for all neurons of one of the `groups`, and stays so. `watch` is asked before every value.
    """
    problem = _Wide(chain, groups)
    best = Found(rho, t, torch.zeros(sum(chain.widths), dtype=t.dtype), 0.0, 0)
    x = problem.parameters(t / rho)

    def value(power: float, at: Tensor) -> _Value | None:
        return None if watch(best) else problem.at(power, at)

    for power in _POWERS:
        now = value(power, x)
        if now is None:
            break
        for ahead, found, gained in descend(partial(value, power), x, now, _STEPS):
            x, now = ahead, found
            best = replace(best, iterations=best.iterations + 1)
            if now.rho < best.rho:
                best = replace(best, rho=now.rho, t=now.rho * problem.multipliers(x))
            if gained < _SETTLED / power:
                break
        best = _enclosed(chain, best, now)
        if best.gap <= gap:
            break
    return replace(best, rho=best.rho * (1.0 + _ROOM), t=best.t * (1.0 + _ROOM))


class _Wide:
    """The least rho as a function of the logarithms of the multipliers."""

    def __init__(self, chain: PlainChain, groups: Tensor | None) -> None:
        self.chain, self.groups = chain, groups

    def parameters(self, tau: Tensor) -> Tensor:
        """The logarithms, one of each group."""
        if self.groups is None:
            return tau.log()
        return tau.new_zeros(int(self.groups.max()) + 1).index_copy_(0, self.groups, tau.log())

    def multipliers(self, x: Tensor) -> Tensor:
        """tau of every neuron."""
        return (x if self.groups is None else x[self.groups]).exp()

    def at(self, power: float, x: Tensor) -> _Value | None:
        """None where K is not positive definite."""
        tau = self.multipliers(x)
        blocks = self.chain.blocks(1.0, tau)
        reduced = Reduction.of(blocks, eliminated(blocks.widths, [dense is None for dense in blocks.dense]))
        if reduced is None:
            return None
        solution = reduced.solve_last(self.chain.output.T)
        eigenvalues, vectors = torch.linalg.eigh(self.chain.output @ solution[-1])
        top = float(eigenvalues[-1])
        if not 0.0 < top < math.inf:
            return None
        shares = (eigenvalues / top).clamp(min=0.0)
        total = float((shares**power).sum())
        weights = shares ** (power - 1.0) / (total * top)
        trajectories = [block @ (vectors * weights.sqrt()) for block in solution]
        barrier = _BARRIER / (power * sum(blocks.widths))
        inverse = self.chain.against_constraints(reduced.inverse())[1]
        gradient = -(self._against_constraints(trajectories) + barrier * inverse) * tau
        if self.groups is not None:
            gradient = x.new_zeros(len(x)).index_add_(0, self.groups, gradient)
        value = math.log(top) + math.log(total) / power - barrier * reduced.logdet()
        return _Value(value, gradient, top, trajectories, reduced, barrier)

    def _against_constraints(self, trajectories: Sequence[Tensor]) -> Tensor:
        """<A_i, Y Y^T> of all neurons."""
        each = []
        for layer, before, z in zip(self.chain.layers, trajectories, trajectories[1:], strict=False):
            v = layer.weight @ before
            each.append(2.0 * ((z - layer.lower[:, None] * v) * (z - layer.upper[:, None] * v)).sum(1))
        return torch.cat(each)


def _enclosed(chain: PlainChain, best: Found, now: _Value) -> Found:
    """With the bound from below that the value's trajectories give, where it is better."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(sum(chain.widths), _SAMPLES, generator=generator, dtype=best.t.dtype, device="cpu")
    samples = now.reduced.samples(noise.to(best.t.device) * math.sqrt(now.barrier / _SAMPLES))
    whole = [torch.cat(pair, 1) for pair in zip(now.trajectories, samples, strict=True)]
    for trajectories in (now.trajectories, whole):
        feasible = _projected(chain, trajectories)
        optimum = float(torch.linalg.matrix_norm(chain.output @ feasible[-1]) ** 2)
        if optimum > best.optimum:
            best = replace(best, optimum=optimum, energy=torch.cat([block.square().sum(1) for block in feasible]))
    return best


def _projected(chain: PlainChain, trajectories: Sequence[Tensor]) -> list[Tensor]:
    """The nearest trajectories, layer by layer, that the slopes allow, from inputs of energy one.

    (z - a v)(z - b v) <= 0, summed over the trajectories of a neuron, is a ball about (a + b) v / 2.
    """
    size = torch.linalg.matrix_norm(trajectories[0])
    found = [trajectories[0] / size]
    for layer, z in zip(chain.layers, trajectories[1:], strict=True):
        v = layer.weight @ found[-1]
        middle = ((layer.lower + layer.upper) / 2.0)[:, None] * v
        radius = (layer.upper - layer.lower) / 2.0 * torch.linalg.vector_norm(v, dim=1)
        away = z / size - middle
        share = (radius / torch.linalg.vector_norm(away, dim=1).clamp(min=1e-300)).clamp(max=1.0)
        found.append(middle + share[:, None] * away)
    return found
