"""Offsets of lines around elementwise functions, for slopes that a certificate states.

Shared with the service is what each scalar function tells of itself: enclosures of its values at points and of its
slopes between points. From these it follows, on a piece [p, q] with slopes in [a, b], that phi(x) - k x is at least the
smaller of its values at p and q less (k - a)(b - k)/(b - a) (q - p), and no less than that value where k is not
between a and b: from p it falls at most by (k - a) (x - p), from q back by (b - k) (q - x), and the least that both
allow is where these lines cross.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ..network.scalar import PiecewiseMonotone, Scalar
from .balls import OUTWARD, TINY, UNIT, Array
from .matrices import array

PARTS = 16
Positions = NDArray[np.intp]


def offsets(scalar: Scalar, lower: Array, upper: Array, below: Array, above: Array) -> tuple[Array, Array]:
    """Largest offset of lines of slopes `below` under the function, least one of slopes `above` over it, `(n,)` each.

    Infinite where there is none, as where the range `lower <= x <= upper` is not finite.
    """
    points = _points(scalar, np.nan_to_num(lower), np.nan_to_num(upper))
    tensor = torch.from_numpy(points)
    low, high = (array(end) for end in scalar.range(tensor, tensor))
    least, most = (array(end) for end in scalar.slopes(tensor[:-1], tensor[1:]))
    under, over = _under(points, low, least, most, below), -_under(points, -high, -most, -least, -above)
    known = np.isfinite(lower) & np.isfinite(upper)
    return np.where(known, under, -np.inf), np.where(known, over, np.inf)


def offsets_of_slope(
    scalar: Scalar, lower: Array, upper: Array, positions: Positions, slopes: Array
) -> tuple[Array, Array]:
    """The same for rows of slopes `(B, k)` of the neurons at `positions`: of lines below, and of lines above."""
    points = _points(scalar, np.nan_to_num(lower), np.nan_to_num(upper))
    tensor = torch.from_numpy(points)
    low, high = (array(end) for end in scalar.range(tensor, tensor))
    least, most = (array(end) for end in scalar.slopes(tensor[:-1], tensor[1:]))
    x, low, high, least, most = (each[:, None, positions] for each in (points, low, high, least, most))
    known = (np.isfinite(lower) & np.isfinite(upper))[positions]
    under, over = _under(x, low, least, most, slopes), -_under(x, -high, -most, -least, -slopes)
    return np.where(known, under, -np.inf), np.where(known, over, np.inf)


def _points(scalar: Scalar, lower: Array, upper: Array) -> Array:
    """A grid where the function is curved, and both sides of its knots, in order: `(J, n)`."""
    parts = 1 if isinstance(scalar, PiecewiseMonotone) and scalar.linear else PARTS
    rows = [lower + (upper - lower) * (k / parts) for k in range(parts)] + [upper]
    for knot in scalar.knots:
        at, away = (np.asarray(end, dtype=np.float64) for end in (knot.place.at, knot.place.radius))
        rows += [np.nextafter(at - away, -np.inf) + 0.0 * lower, np.nextafter(at + away, np.inf) + 0.0 * lower]
    points: Array = np.sort(np.clip(np.stack(rows), lower, upper), axis=0)
    return points


def _under(points: Array, low: Array, least: Array, most: Array, slope: Array) -> Array:
    tilted = slope * points
    heights = low - tilted - 4.0 * UNIT * (np.abs(low) + np.abs(tilted)) - TINY
    falls = (slope - least) + 2.0 * UNIT * (np.abs(slope) + np.abs(least))
    rises = (most - slope) + 2.0 * UNIT * (np.abs(slope) + np.abs(most))
    length = (points[1:] - points[:-1]) * OUTWARD
    drop = np.where((falls > 0.0) & (rises > 0.0), falls / (1.0 + falls / rises) * length * OUTWARD + TINY, 0.0)
    lowest = np.minimum(heights[1:], heights[:-1])
    offset: Array = (lowest - drop - 4.0 * UNIT * (np.abs(lowest) + drop)).min(axis=0)
    return np.where(np.isfinite(offset) & np.isfinite(slope), offset, -np.inf)
