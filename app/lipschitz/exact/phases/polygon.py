"""Convex polygons of the plane, bounded or not, many at once: cyclic lists of half-planes.

A point x is (x, 1), a direction d is (d, 0): a half-plane is a row r with r (x, 1) >= 0, a corner is the cross
product of two neighbouring rows, and the row (0, 0, 1) closes what is unbounded. Corners only guide the search: which
half-planes a polygon lists may be off by rounding, and no proof rests on it (`sides`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

NO_FACE = 0
"""The face of rows that no neuron and no border stands behind."""


class Ring(NamedTuple):
    """Which of the places `(P, V)` are taken, and the places before and after each in the cycle."""

    taken: Tensor
    before: Tensor
    after: Tensor


@dataclass(frozen=True, eq=False)
class Polygons:
    """Rows `(P, V, 3)`, counter-clockwise, the first `count` `(P,)` of each; entries are at most 1.

    Every entry is within `error`, `(P, V)`, of a positive multiple of an exact row; `faces`, `(P, V)`, names it.
    """

    rows: Tensor
    error: Tensor
    faces: Tensor
    count: Tensor

    def __len__(self) -> int:
        return len(self.count)

    @cached_property
    def ring(self) -> Ring:
        """The order of the rows."""
        place, count = torch.arange(self.rows.shape[1]), self.count[:, None]
        return Ring(place < count, (place - 1) % count, (place + 1) % count)

    @cached_property
    def corners(self) -> Tensor:
        """`(P, V, 3)`: where each row meets the one before; 0 at places that are not taken."""
        corners = torch.linalg.cross(_at(self.rows, self.ring.before), self.rows)
        return torch.where(self.ring.taken[:, :, None], corners, 0.0)

    def take(self, index: Tensor) -> Polygons:
        """Some of the polygons, by numbers or flags."""
        count = self.count[index]
        most = int(count.max()) if len(count) else 0
        return Polygons(self.rows[index, :most], self.error[index, :most], self.faces[index, :most], count)

    def cut(self, rows: Tensor, error: Tensor, faces: Tensor, inside: Tensor) -> Polygons:
        """The parts where `rows (x, 1) >= 0`, `(P, 3)`; `inside`, `(P, V)`, says which corners they hold."""
        follows = inside.gather(1, self.ring.after)
        stays, ends = self.ring.taken & (inside | follows), self.ring.taken & inside & ~follows
        flags = torch.stack([stays, ends], 2).flatten(1)
        order = flags.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, : int(flags.sum(1).max())]
        return Polygons(
            _at(_woven(self.rows, rows), order),
            _woven(self.error, error).gather(1, order),
            _woven(self.faces, faces).gather(1, order),
            flags.sum(1),
        )

    def middles(self) -> tuple[Tensor, Tensor]:
        """A point inside each polygon, `(P, 2)`, and how far its sides are away, `(P,)`; not finite where unknown."""
        sizes = self.corners.abs().amax(2, keepdim=True)
        total = (self.corners / torch.where(sizes > 0, sizes, 1.0)).sum(1)
        points = total[:, :2] / total[:, 2:]
        lengths = torch.linalg.vector_norm(self.rows[:, :, :2], dim=2)
        away = ((self.rows[:, :, :2] @ points[:, :, None]).squeeze(2) + self.rows[:, :, 2]) / lengths
        far = torch.where(self.ring.taken & (lengths > 0), away, torch.inf)
        return points, far.amin(1).clamp(min=0.0)


def joined(parts: Sequence[Polygons]) -> Polygons:
    """All polygons in one."""
    most = max(part.rows.shape[1] for part in parts)
    return Polygons(
        torch.cat([pad(part.rows, (0, 0, 0, most - part.rows.shape[1])) for part in parts]),
        torch.cat([pad(part.error, (0, most - part.error.shape[1])) for part in parts]),
        torch.cat([pad(part.faces, (0, most - part.faces.shape[1])) for part in parts]),
        torch.cat([part.count for part in parts]),
    )


def _at(rows: Tensor, places: Tensor) -> Tensor:
    """The rows `(P, V, 3)` at places `(P, W)`."""
    return rows.gather(1, places[:, :, None].expand(-1, -1, rows.shape[2]))


def _woven(old: Tensor, new: Tensor) -> Tensor:
    """Each entry of `(P, V, ...)` followed by the polygon's new one, `(P, ...)`: `(P, 2 V, ...)`."""
    return torch.stack([old, new[:, None].expand_as(old)], 2).flatten(1, 2)
