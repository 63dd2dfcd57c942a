"""The semidefinite bound of many small chains at once, each with slopes of its own.

A neuron that reads nothing, or whose slope is a single number, is no neuron: its map is folded into what follows. So
all problems of a batch keep one shape, and neurons that drop out leave zero rows and columns behind.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ...operators.rounding import gamma
from ...operators.scaling import raised
from ..proof import proved
from ..start import closed_form
from ..system import Block, System
from .interior import NotPositive, minimise

UNDERFLOW = 2.0**-500
"""More than squares and products of weights of at most 1 lose by underflow."""


def slope_bounds(
    weights: Sequence[Tensor], lower: Sequence[Tensor], upper: Sequence[Tensor], *, gap: float = 1e-3
) -> Tensor:
    """Certified upper bounds, `(P,)`, of max ||W_K D_{K-1} ... D_1 W_1||_2 over lower_k <= diag(D_k) <= upper_k.

    `weights` are `(o, i)` or `(P, o, i)`, the slopes `(P, n_k)`, all float64. `gap` is the relative distance to the
    semidefinite optimum at which a problem counts as solved. Infinite where nothing can be proved.
    """
    return slope_multipliers(weights, lower, upper, gap=gap)[0]


def slope_multipliers(
    weights: Sequence[Tensor], lower: Sequence[Tensor], upper: Sequence[Tensor], *, gap: float = 1e-3
) -> tuple[Tensor, Tensor]:
    """The bounds, and LipSDP's multipliers `(P, n_1 + ... + n_(K-1))` behind them, for the maps as they are given."""
    scaled, exponents = _scaled([w if w.ndim == 3 else w[None] for w in weights])
    sizes = [s.shape[1] for s in lower]
    rho, t = _least_rho(_folded(scaled, lower, upper), sizes, gap)
    total = sum(exponents)
    after = [2 * (total - sum(exponents[: k + 1])) for k, size in enumerate(sizes) for _ in range(size)]
    return _root_up(rho, total), torch.ldexp(t, torch.tensor(after, device=t.device))


def _scaled(weights: Sequence[Tensor]) -> tuple[list[Tensor], list[int]]:
    """Weights of Frobenius norm between 1/2 and 1, by powers of two, and the exponents taken out of them.

    Norms below 2^-1000 stay below 2^-70: a higher power of two would overflow.
    """
    exponents = [max(math.frexp(float(torch.linalg.matrix_norm(w).max()) or 1.0)[1], -1000) for w in weights]
    return [w * 2.0**-e for w, e in zip(weights, exponents, strict=True)], exponents


def _folded(weights: Sequence[Tensor], lower: Sequence[Tensor], upper: Sequence[Tensor]) -> System:
    """The system in the input and the free neurons, with fixed slopes multiplied out and their rounding bounded."""
    batch, inputs = len(lower[0]), weights[0].shape[-1]
    sizes = [slopes.shape[1] for slopes in lower]
    total = inputs + sum(sizes)
    value = torch.eye(inputs, total, dtype=torch.float64, device=lower[0].device).expand(batch, -1, -1)
    error, blocks, free, row = torch.zeros_like(lower[0][:, 0]), [], [], 0
    for weight, low, high in zip(weights, lower, upper, strict=False):
        pre, error = _product(weight, value, error)
        free.append((low < high) & (pre != 0.0).any(2))
        reach = inputs + row
        blocks.append(Block(row, 0, torch.where(free[-1][:, :, None], pre[:, :, :reach], 0.0), float(error.max())))
        value = torch.where(free[-1][:, :, None], 0.0, low[:, :, None] * pre)
        value.diagonal(offset=reach, dim1=1, dim2=2).copy_(free[-1])
        steepest = torch.maximum(low.abs(), high.abs()).amax(1)
        error = (error + math.ulp(1.0) * torch.linalg.matrix_norm(pre)) * steepest
        row += weight.shape[-2]
    output, error = _product(weights[-1], value, error)
    varying = torch.cat(free, 1)
    slopes = [torch.where(varying, torch.cat(list(ends), 1), end) for ends, end in ((lower, 0.0), (upper, 1.0))]
    return System(inputs, tuple(blocks), output, slopes[0], slopes[1], output_error=float(error.max()))


def _product(weight: Tensor, value: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
    """weight @ value and a bound of its distance to the exact product, `(P,)`, value being off by `error`."""
    size, length = torch.linalg.matrix_norm(weight), weight.shape[-1]
    lost = 2.0 * gamma(length + 2) * size * torch.linalg.matrix_norm(value)
    return weight @ value, lost + 1.001 * size * error + UNDERFLOW


def _least_rho(system: System, sizes: Sequence[int], gap: float) -> tuple[Tensor, Tensor]:
    """The proved rho of every problem, with its multipliers."""
    ends = torch.tensor([0, *sizes]).cumsum(0).tolist()
    layers = [slice(a, b) for a, b in pairwise(ends)]
    try:
        start = closed_form(system, layers)
        iterate = minimise(system, *start, gap=gap)
    except NotPositive:
        return torch.full_like(system.lower[:, 0], torch.inf), torch.zeros_like(system.lower)
    return proved(system, iterate.rho, iterate.t, start)


def _root_up(rho: Tensor, exponent: int) -> Tensor:
    """sqrt(rho) 2^exponent, rounded up."""
    return raised(rho.sqrt() * (1.0 + 4.0 * torch.finfo(torch.float64).eps), exponent)
