"""On which side of a line polygons lie: proofs in floating point, by the lemma of Farkas.

If a = l r1 + m r2 + n s with l, m, n >= 0, and r1, r2, s are nonnegative on a set, so is a. With s the mean of all
rows of a polygon, and r1 and r2 those that meet in the corner p = r1 x r2 where a p / s p is least, a positive a has
such a combination by linear programming duality. By Cramer's rule it takes four determinants of three rows to be
positive: [r1 r2 s], [a r2 s], [r1 a s], [r1 r2 a]. Each must exceed what the rounding of the rows and of the
determinant itself may come to. Then the proof holds for the exact rows. It needs each of them to hold on the cell, and
nothing else of the polygon: neither its corners nor the completeness or order of its rows.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ...operators.rounding import UNIT
from .polygon import Polygons

COARSE = 1e-3
"""Rows with a larger error prove nothing."""


class Sides(NamedTuple):
    """For every polygon and line, `(P, R)`: 1 or -1 where it is proved to be above or below, 0 where it is not.

    `reaches_above` and `reaches_below`: a corner seems clearly beyond the line.
    """

    signs: Tensor
    reaches_above: Tensor
    reaches_below: Tensor


def sides(polygons: Polygons, rows: Tensor, error: Tensor) -> Sides:
    """Where `rows (x, 1)`, `(P, R, 3)` with entries at most 1 and within `error`, `(P, R)`, has which sign."""
    ring, second = polygons.ring, polygons.rows
    first = second.gather(1, ring.before[:, :, None].expand_as(second))
    total, blurred = _total(polygons)
    pair = polygons.error + polygons.error.gather(1, ring.before) + blurred
    room = determinant_error(pair[:, :, None] + error[:, None])
    thick = ring.taken & ((polygons.corners * total).sum(2) > determinant_error(pair))
    values = polygons.corners @ rows.mT
    shares = torch.linalg.cross(second, total) @ rows.mT, torch.linalg.cross(total, first) @ rows.mT
    above, below = thick[:, :, None].expand_as(values), thick[:, :, None].expand_as(values)
    for share in (values, *shares):
        above, below = above & (share > room), below & (share < -room)
    beyond = ring.taken[:, :, None] & (values > room), ring.taken[:, :, None] & (values < -room)
    return Sides(above.any(1).to(torch.int8) - below.any(1).to(torch.int8), beyond[0].any(1), beyond[1].any(1))


def _total(polygons: Polygons) -> tuple[Tensor, Tensor]:
    """The mean of all rows, `(P, 1, 3)`, and its error, `(P, 1)`."""
    taken, count = polygons.ring.taken, polygons.count[:, None]
    mean = torch.where(taken[:, :, None], polygons.rows, 0.0).sum(1, keepdim=True) / count[:, :, None]
    error = torch.where(taken, polygons.error, 0.0).sum(1, keepdim=True) / count
    return mean, error * (1.0 + 2.0**-30) + 2.0 * UNIT * (count + 2)


def determinant_error(errors: Tensor) -> Tensor:
    """What a determinant of three rows may be off by; `errors` are the sums of the three rows' errors.

    With entries at most 1 and errors a, b, c the six products move by 6 ((1 + a)(1 + b)(1 + c) - 1) <= 6.1 (a + b + c)
    in all while the sum is at most 1/100, and lose 6 gamma_6 <= 37 u in five operations each.
    """
    return torch.where(errors <= 1e-2, 6.1 * errors + 64.0 * UNIT, torch.inf)


def scaled(rows: Tensor, errors: Tensor) -> tuple[Tensor, Tensor]:
    """Rows `(..., 3)` with bounds of their entries' errors, to entries at most 1 and one error a row."""
    size = rows.abs().amax(-1, keepdim=True).clamp(min=1e-280)
    error = (errors.amax(-1) / size[..., 0]) * (1.0 + 2.0**-30) + 2.0 * UNIT
    return rows / size, torch.where(error <= COARSE, error, torch.inf)
