"""Radii of constants that the graph computes, against exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import torch

from app.lipschitz.network.constants import exact, radius, square_root


def test_roots_lie_within_their_radius() -> None:
    """torch rounds a vector's roots by MKL, which errs by 0.53 units: more than a correctly rounded root does."""
    x = 1.0 + 0.2 * torch.rand(5000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    root = square_root(exact(x))
    for square, value, off in zip(x.tolist(), root.value.tolist(), radius(root).tolist(), strict=True):
        assert (Fraction(value) - Fraction(off)) ** 2 <= Fraction(square) <= (Fraction(value) + Fraction(off)) ** 2
