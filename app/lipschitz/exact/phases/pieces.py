"""Elementwise functions as lists of straight pieces: kinks, slopes and intercepts of every entry."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from ...network.branching import Choice, Extremum
from ...network.expression import Apply, Number, Product, Step
from ...network.fused import Fused, inside, pieces
from ...network.scalar import Entries, PiecewiseMonotone, Scalar


@dataclass(frozen=True, eq=False)
class Pieces:
    """Piece j of entry i is `slopes[i, j] x + intercepts[i, j]` for `kinks[i, j-1] <= x <= kinks[i, j]`.

    Shapes `(n, m)` for the kinks, `(n, m + 1)` for the others; the numbers are exact.
    """

    kinks: Tensor
    slopes: Tensor
    intercepts: Tensor


def identity(size: int) -> Pieces:
    """One piece of slope 1."""
    return Pieces(_column(0.0, size)[:, :0], _column(1.0, size), _column(0.0, size))


def pieces_of(scalar: Scalar, size: int) -> Pieces | None:
    """The pieces of a function on `size` entries; None unless it is known to be piecewise linear, number by number."""
    if isinstance(scalar, Fused):
        return fused_pieces(scalar.expression, size)
    if not isinstance(scalar, PiecewiseMonotone) or not scalar.linear:
        return None
    kinks = torch.cat([_column(knot.place.at, size) for knot in scalar.knots] or [_column(0.0, size)[:, :0]], 1)
    if not bool(torch.isfinite(kinks).all()) or bool((kinks.diff(dim=1) <= 0).any()):
        return None
    right = [knot.hull if knot.right is None else knot.right for knot in scalar.knots]
    slopes = torch.cat([_column(line.lower, size) for line in (scalar.limits[0], *right)], 1)
    intercepts = _intercepts(scalar, kinks, slopes)
    return None if intercepts is None else Pieces(kinks, slopes, intercepts)


def _column(entries: Entries, size: int) -> Tensor:
    return torch.as_tensor(entries, dtype=torch.float64).expand(size)[:, None]


def _intercepts(scalar: Scalar, kinks: Tensor, slopes: Tensor) -> Tensor | None:
    """Values at the kinks minus slope times kink; None where float64 does not hold them exactly."""
    at = kinks if kinks.shape[1] else torch.zeros_like(slopes)
    values = scalar.function(at.T).T
    nearest = [max(piece - 1, 0) for piece in range(slopes.shape[1])]
    rows = []
    for kink, value, slope in zip(at.tolist(), values.tolist(), slopes.tolist(), strict=True):
        exact = [Fraction(value[k]) - Fraction(s) * Fraction(kink[k]) for k, s in zip(nearest, slope, strict=True)]
        joined = all(
            exact[j] + Fraction(slope[j]) * Fraction(kink[j]) == Fraction(value[j]) for j in range(len(slope) - 1)
        )
        rows.append([float(intercept) for intercept in exact])
        if not joined or any(Fraction(f) != e for f, e in zip(rows[-1], exact, strict=True)):
            return None
    return torch.tensor(rows, dtype=torch.float64).reshape(slopes.shape)


def fused_pieces(expression: Step, size: int) -> Pieces | None:
    """The pieces of a fused expression, in rational arithmetic; None unless float64 holds all their numbers."""
    if not _is_linear_between_kinks(expression):
        return None
    parts = pieces(expression)
    lines = [_line(expression, inside(part), part[1]) for part in parts]
    kinks = [low for low, _ in parts if low is not None]
    if any(line is None for line in lines):
        return None
    numbers = [kinks, [line[0] for line in lines if line], [line[1] for line in lines if line]]
    if any(Fraction(float(number)) != number for row in numbers for number in row):
        return None
    rows = [torch.tensor([float(number) for number in row], dtype=torch.float64).expand(size, -1) for row in numbers]
    return Pieces(rows[0], rows[1], rows[2])


def _is_linear_between_kinks(step: Step) -> bool:
    """No products of variable factors; every branch is decided by an affine argument, so that its kink is known."""
    if isinstance(step, Product) and not any(isinstance(operand, Number) for operand in step.operands):
        return False
    if isinstance(step, Apply) and (step.name not in ("relu", "abs") or step.argument.line is None):
        return False
    if isinstance(step, Extremum | Choice) and step.gap.line is None:
        return False
    return all(_is_linear_between_kinks(operand) for operand in step.operands)


def _line(expression: Step, at: Fraction, high: Fraction | None) -> tuple[Fraction, Fraction] | None:
    """Slope and intercept on the piece of `at` that ends at `high`."""
    other = (at + high) / 2 if high is not None else at + 1
    values = expression.exact(at), expression.exact(other)
    if values[0] is None or values[1] is None:
        return None
    slope = (values[1] - values[0]) / (other - at)
    return slope, values[0] - slope * at
