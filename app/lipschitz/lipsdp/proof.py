"""Proof that S(rho, t) >= 0 for the exact network, rounding included.

S is computed in floating point, scaled to a diagonal near one by powers of two, lowered by c on the diagonal and
factorised. Success gives lambda_min >= c - share trace (S. Rump, BIT 46 (2006), theorem 2.3; see `operators.gram`);
c covers that, the rounding in S, and what the stored maps may be off by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..operators.cholesky import factorises
from ..operators.rounding import UNIT, gamma
from .system import System

OUTWARD = 1.0 + 2.0**-20
"""Covers the rounding of the few sums and products that make up c."""
LEAST_RHO = 2.0**-800
"""Above it, what underflow loses is covered by the rounding of the factorisation."""
SHARES = (0.0, *(10.0**-k for k in range(11, 0, -1)), 1.0)


def proved(system: System, rho: Tensor, t: Tensor, inner: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """(rho, t) as near to the given ones as a proof allows, on the way to the strictly feasible `inner`.

    rho is infinite where not even `inner` can be proved. ||f(x) - f(y)||^2 <= rho ||x - y||^2 is then a theorem.
    """
    return nearest(rho, t, inner, lambda some_rho, some_t: is_proved(system, some_rho, some_t))


def nearest(
    rho: Tensor,
    t: Tensor,
    inner: tuple[Tensor, Tensor],
    holds: Callable[[Tensor, Tensor], Tensor],
    shares: Sequence[float] = SHARES,
) -> tuple[Tensor, Tensor]:
    """The first point at one of the `shares` of the way from (rho, t) to `inner` where it holds; infinite if none."""
    found_rho, found_t = torch.full_like(rho, torch.inf), t.clone()
    for share in shares:
        open_ = torch.isinf(found_rho)
        if not bool(open_.any()):
            break
        some_rho, some_t = rho + share * (inner[0] - rho), t + share * (inner[1] - t)
        good = open_ & holds(some_rho, some_t)
        found_rho = torch.where(good, some_rho, found_rho)
        found_t = torch.where(good[:, None], some_t, found_t)
    return found_rho, found_t


def is_proved(system: System, rho: Tensor, t: Tensor) -> Tensor:
    """Whether S(rho, t) >= 0 and t >= 0 are certain, `(P,)`."""
    slack = system.slack(rho, t)
    scale = powers_of_two(slack.diagonal(dim1=1, dim2=2))
    scaled = slack * scale[:, :, None] * scale[:, None]
    trace = scaled.diagonal(dim1=1, dim2=2).sum(1)
    share = gamma(2 * (system.size + 4))
    if share >= 0.5:
        return torch.zeros_like(rho, dtype=torch.bool)
    rounding = (_summands(system) * UNIT * 2.0) * _row_sums(_majorant(system, rho, t), scale)
    lowered = OUTWARD * (share / (1.0 - share) * trace.abs() + rounding + _of_errors(system, t, scale))
    scaled.diagonal(dim1=1, dim2=2).sub_(lowered[:, None])
    return system.least(factorises(scaled) & torch.isfinite(lowered)) & (t >= 0).all(1) & (rho > LEAST_RHO)


def powers_of_two(diagonal: Tensor) -> Tensor:
    """Scales that bring the diagonal into [1/4, 1] or so: they round nothing."""
    _, exponent = torch.frexp(diagonal.clamp(min=1e-200, max=1e200))
    return torch.ldexp(torch.ones_like(diagonal), -torch.div(exponent + 1, 2, rounding_mode="floor"))


def _summands(system: System) -> int:
    """Roundings that one entry of S meets at most: products, the longest inner product, one sum a pair of blocks."""
    longest = max([system.output.shape[-2], *(block.matrix.shape[-2] for block in system.blocks)])
    return longest + len(system.blocks) ** 2 + 12


def _majorant(system: System, rho: Tensor, t: Tensor) -> Tensor:
    """A matrix with at least the sum of the magnitudes that make up each entry of S."""
    blocks = tuple(replace(block, matrix=block.matrix.abs()) for block in system.blocks)
    output = system.output.abs()
    of_sizes = replace(system, blocks=blocks, output=output, lower=-system.lower.abs(), upper=-system.upper.abs())
    return of_sizes.step(rho, t) + of_sizes.cost


def _row_sums(majorant: Tensor, scale: Tensor) -> Tensor:
    """The largest row sum of the scaled majorant, `(P,)`: a bound of its 2-norm."""
    sums = (majorant @ scale[:, :, None])[:, :, 0] * scale
    return sums.amax(1) * (1.0 + 2.0 * gamma(majorant.shape[-1] + 2))


def _of_errors(system: System, t: Tensor, scale: Tensor) -> Tensor:
    """Bound of the change in scaled S when V and C change by the errors of their blocks, `(P,)`."""
    n, each = system.inputs, system.per_neuron(t)
    both = each * (system.lower + system.upper).abs()
    root = (2.0 * each * (system.lower * system.upper).abs()).sqrt()
    total, bent, curved = (torch.zeros_like(scale[:, 0]) for _ in range(3))
    for block in system.blocks:
        columns = scale[:, block.columns]
        rows = scale[:, n + block.row : n + block.rows.stop]
        total = total + (both[:, block.rows] * rows).amax(1) * block.error * columns.amax(1)
        bent = bent + root[:, block.rows].amax(1) * block.error * columns.amax(1)
        curved = curved + torch.linalg.matrix_norm(root[:, block.rows, None] * block.matrix * columns[:, None])
    off = system.output_error * scale.amax(1)
    output = torch.linalg.matrix_norm(system.output * scale[:, None])
    change: Tensor = total + (2.0 * curved + bent) * bent + (2.0 * output + off) * off
    return change
