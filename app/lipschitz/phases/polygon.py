"""Polygons in the plane, cut by half-planes: for two inputs they replace the linear programs.

Like those they only guide the search: the plane itself is a large square here, and what a polygon suggests is proved
in exact arithmetic from the edges that it names.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

REACH = 1e6
NOWHERE = -1


@dataclass(frozen=True, eq=False)
class Polygon:
    """Corners `(k, 2)` in order; edge i from corner i to the next lies on row `edges[i]`, NOWHERE on the square."""

    corners: np.ndarray
    edges: np.ndarray

    def cut(self, row: np.ndarray, index: int) -> Polygon | None:
        """The part where `row (x, 1) > 0`; None where nothing is left."""
        values = self.values(row[None])[0]
        inside = values > 0
        if inside.all():
            return self
        if not inside.any():
            return None
        k = len(values)
        last = next(i for i in range(k) if inside[i] and not inside[(i + 1) % k])
        first = next(i for i in range(k) if not inside[i] and inside[(i + 1) % k])
        kept = [(first + 1 + step) % k for step in range((last - first) % k)]
        corners = [*self.corners[kept], self._crossing(values, last), self._crossing(values, first)]
        return Polygon(np.array(corners), np.array([*self.edges[kept], index, self.edges[first]]))

    def _crossing(self, values: np.ndarray, i: int) -> np.ndarray:
        """Where a row with these values at the corners meets edge i."""
        j = (i + 1) % len(values)
        share = values[i] / (values[i] - values[j])
        point: np.ndarray = self.corners[i] + share * (self.corners[j] - self.corners[i])
        return point

    def values(self, rows: np.ndarray) -> np.ndarray:
        """Rows `(r, 3)` at the corners, `(r, k)`."""
        found: np.ndarray = rows[:, :2] @ self.corners.T + rows[:, 2:]
        return found

    def supports(self, corner: int) -> list[int]:
        """The rows of the edges that meet in a corner."""
        return [int(edge) for edge in (self.edges[corner - 1], self.edges[corner]) if edge != NOWHERE]


def polygon(rows: np.ndarray) -> Polygon | None:
    """The polygon of `rows (x, 1) > 0`, `(r, 3)`, within the square."""
    corners = REACH * np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    found: Polygon | None = Polygon(corners, np.full(4, NOWHERE))
    for index, row in enumerate(rows):
        found = found.cut(row, index) if found is not None else None
    return found
