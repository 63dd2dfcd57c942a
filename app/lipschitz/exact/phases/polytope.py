"""Linear programs over the polytopes of the search: a point well inside, or the rows that leave no room.

Nothing here is a proof: rows that seem to conflict are checked in exact arithmetic (`integers.conflict`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

THIN = 1e-7
"""Rooms of a smaller radius may be empty: a proof is tried."""
SUPPORTS = (1e-9, 1e-6, 1e-12, 1e-4)
"""Weights below such a part of the largest are taken for zero, in the order of the trials."""


@dataclass(frozen=True, eq=False)
class Room:
    """The centre and radius of a largest ball (radius 1 at most) in a polytope, and each row's weight in its proof."""

    centre: np.ndarray
    radius: float
    weights: np.ndarray

    def supports(self) -> list[list[int]]:
        """Sets of rows that may be enough to leave no room."""
        largest = self.weights.max(initial=0.0)
        sets = [np.flatnonzero(self.weights > share * largest).tolist() for share in SUPPORTS]
        return [rows for i, rows in enumerate(sets) if rows and rows not in sets[:i]]


def room(rows: np.ndarray) -> Room | None:
    """The room in `rows (x, 1) >= 0` for `(k, n + 1)`; None where the solver gives no answer."""
    n = rows.shape[1] - 1
    lengths = np.linalg.norm(rows[:, :-1], axis=1)
    scale = np.where(lengths > 0, lengths, np.maximum(np.abs(rows[:, -1]), 1e-300))
    scaled = rows / scale[:, None]
    if not np.isfinite(scaled).all():
        return None
    left = np.column_stack([-scaled[:, :-1], np.ones(len(rows))])
    bounds = [(None, None)] * n + [(None, 1.0)]
    answer = linprog(np.append(np.zeros(n), -1.0), left, scaled[:, -1], bounds=bounds, method="highs-ds")
    if answer.status != 0:
        return None
    return Room(answer.x[:-1], float(answer.x[-1]), -np.asarray(answer.ineqlin.marginals) / scale)
