"""Certified norms of all Jacobians that a partial pattern allows, for a batch of patterns.

Slopes lie in [l, u], so every matrix of the recursion lies in C +- R entry by entry: D C with D = mid +- half
gives mid C +- (mid R + half (|C| + R)). Then ||J||_p <= ||C||_p + ||R||_p, and |J| <= |C| + R.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...operators.gram import has_factor, proved_eigenvalue
from ...operators.norm import Norm
from ...operators.rounding import TINY, gamma, up_add, up_mul
from .model import Model

MARGIN = 1.0 + 1e-10
"""How far above the computed norm the certified one is tried."""

NEGLIGIBLE = 1e-280
"""Added to Frobenius norms: what underflows in their squares is less."""


@dataclass(frozen=True, eq=False)
class Enclosure:
    """Jacobians in `centre +- radius`, `(P, o, n)`; `pre[k]` holds C of layer k's (x, 1) -> a_k, `(P, n_k, n + 1)`.

    `pre` is the affine map itself, to rounding, as long as all layers before are fixed.
    """

    centre: Tensor
    radius: Tensor
    pre: list[Tensor]


def enclose(model: Model, lowest: Tensor, highest: Tensor) -> Enclosure:
    """Jacobians of the patterns with pieces from `lowest` to `highest`, integers `(P, N)` over all layers."""
    count, n = len(lowest), model.size
    eye = torch.eye(n, n + 1, dtype=torch.float64).expand(count, n, n + 1)
    centres, radii, pre = [eye], [torch.zeros_like(eye)], []
    start = 0
    for layer in model.layers:
        centre = layer.weight @ torch.cat(centres, 1)
        radius = layer.weight.abs() @ torch.cat(radii, 1)
        centre[:, :, -1] += layer.bias
        pre.append(centre)
        own = slice(start, start + layer.size)
        low, high = slopes(layer.pieces.slopes, lowest[:, own], highest[:, own])
        middle, half = (low + high) / 2, (high - low) / 2
        radii.append(middle.abs() * radius + half * (centre.abs() + radius))
        centre = middle * centre
        centre[:, :, -1] += layer.pieces.intercepts.expand(count, -1, -1).gather(2, lowest[:, own, None]).squeeze(2)
        centres.append(centre)
        start += layer.size
    return Enclosure(centres[-1][:, :, :-1], radii[-1][:, :, :-1], pre)


def enclosing_work(model: Model) -> float:
    """Multiplications for one pattern's enclosure."""
    return 2.0 * (model.size + 1) * sum(float(layer.weight.numel()) for layer in model.layers)


def slopes(pieces: Tensor, lowest: Tensor, highest: Tensor) -> tuple[Tensor, Tensor]:
    """Least and greatest slope of the pieces between two, `(P, n, 1)` each, from `(n, m + 1)`."""
    index = torch.arange(pieces.shape[1])
    allowed = (index >= lowest[:, :, None]) & (index <= highest[:, :, None])
    low = torch.where(allowed, pieces, torch.inf).amin(2, keepdim=True)
    return low, torch.where(allowed, pieces, -torch.inf).amax(2, keepdim=True)


def lost(model: Model, p: Norm) -> float:
    """Bound of what rounding can add to the p-norm of any C or R.

    Every entry of the recursion is a sum of products of which the magnitudes' recursion bounds all; the number
    of roundings an entry meets is at most the sum over the layers of W's width plus a few for D. A product that
    underflows loses TINY, which later layers magnify.
    """
    magnitudes, depth = [torch.eye(model.size, dtype=torch.float64)], 0
    vanished = [torch.zeros(model.size, dtype=torch.float64)]
    for layer in model.layers:
        steep, size = layer.pieces.slopes.abs().amax(1, keepdim=True), layer.weight.abs()
        magnitudes.append(steep * (size @ torch.cat(magnitudes)))
        underflow = 8.0 * TINY * (layer.weight.shape[1] + 8)
        vanished.append(steep[:, 0] * (size @ torch.cat(vanished) + underflow) + underflow)
        depth += layer.weight.shape[1] + 8
    largest = float(simple_norms(magnitudes[-1][None], p))
    rounding = up_mul(8.0 * gamma(depth), largest * (1.0 + gamma(8 * depth)))
    return up_add(rounding, 2.0 * model.size * float(vanished[-1].sum()))


def simple_norms(matrices: Tensor, p: Norm) -> Tensor:
    """The p-norms of `(P, o, n)`, to rounding; the Frobenius norm stands for p = 2."""
    if p == "2":
        size = matrices.abs().amax((1, 2), keepdim=True).clamp(min=NEGLIGIBLE)
        return (matrices / size).square().sum((1, 2)).sqrt() * size[:, 0, 0] + NEGLIGIBLE
    return matrices.abs().sum(1 if p == "1" else 2).amax(1)


def norms(matrices: Tensor, p: Norm) -> Tensor:
    """Certified upper bounds of the p-norms of `(P, o, n)`: `(P,)`; infinite where an entry is not finite."""
    finite = torch.isfinite(matrices).all(2).all(1)
    if not bool(finite.all()):
        norms_ = torch.full_like(matrices[:, 0, 0], torch.inf)
        if bool(finite.any()):
            norms_[finite] = norms(matrices[finite], p)
        return norms_
    if p != "2":
        return simple_norms(matrices, p) * (1.0 + 2.0 * gamma(max(matrices.shape[1:]) + 2))
    return _spectral(matrices)


def _spectral(matrices: Tensor) -> Tensor:
    """By Cholesky factorisations of I - A A^T / level^2, as in operators.gram, each matrix scaled by its own level."""
    a = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mT
    frobenius = simple_norms(a, "2") * (1.0 + 4.0 * gamma(a[0].numel() + 4))
    s, length = a.shape[1:]
    if s == 1:
        return frobenius
    level = torch.linalg.matrix_norm(a, 2) * MARGIN
    level = torch.where(level > 1e-150, level, 1.0)
    scaled = a / level[:, None, None]
    proved = has_factor(scaled @ scaled.mT, 1.0)
    error = up_mul(gamma(length + 4), up_mul(float(s), 1.0 + 2.0**-20))
    square = proved_eigenvalue(1.0, s, error, hermitian=False)
    certified = level * (0.5 + 0.5 * square + s * 2.0**-52) * (1.0 + 2.0**-50)
    return torch.where(proved & (frobenius > 1e-140), torch.minimum(certified, frobenius), frobenius)


def jacobian_bounds(enclosure: Enclosure, p: Norm, rounding: float) -> Tensor:
    """Certified upper bounds of ||J||_p, `(P,)`; `rounding` as `lost` gives it."""
    apart = norms(enclosure.centre, p) + norms(enclosure.radius, p)
    together = norms(enclosure.centre.abs() + enclosure.radius, p)
    allowance = up_add(up_mul(2.0, rounding), 0.0)
    return (torch.minimum(apart, together) + allowance) * (1.0 + 2.0**-50)
