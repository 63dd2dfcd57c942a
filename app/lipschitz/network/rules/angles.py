"""The angle of a point of the plane: steep near the origin, and torn along the half-line y = 0, x <= 0."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from ...errors import UnsupportedOperator
from .. import constants
from ..builder import Builder
from ..call import Call
from ..ends import MARGIN, Ends, widened
from ..nodes import Constants, Function
from ..values import Constant, Linear
from .broadcast import broadcast
from .table import rule

NEAREST = 2.0**-1000
"""Distances from the origin below which nothing is said."""


@dataclass(frozen=True, eq=False)
class Angle:
    """(y, x) -> atan2(y, x) of pairs; a flat vector holds all y and then all x.

    The gradient (x, -y) / r^2 has 2-norm 1 / r, entries of at most that, and a 1-norm of at most sqrt(2) / r. Along an
    edge of a box the angle rises or falls, so on a box that does not meet the cut it is largest and least at corners.
    """

    pairs: int

    def __call__(self, x: Tensor) -> Tensor:
        """`(B, 2 pairs)` -> `(B, pairs)`."""
        return torch.atan2(x[:, : self.pairs], x[:, self.pairs :])

    def constants(self) -> Constants:
        """On the whole space."""
        return {"1": math.inf, "2": math.inf, "inf": math.inf}

    def local(self, lower: Tensor, upper: Tensor) -> Constants:
        """On `lower <= (y, x) <= upper`."""
        if bool(self._torn(lower, upper).any()):
            return self.constants()
        least = torch.where((lower <= 0) & (upper >= 0), 0.0, torch.minimum(lower.abs(), upper.abs()))
        nearest = float(torch.hypot(least[: self.pairs], least[self.pairs :]).min())
        steepest = (1.0 + MARGIN) / nearest if nearest > NEAREST else math.inf
        return {"1": steepest, "2": steepest, "inf": steepest * math.sqrt(2.0) * (1.0 + MARGIN)}

    def _torn(self, lower: Tensor, upper: Tensor) -> Tensor:
        """Whether a pair's box meets the cut."""
        y, x = (slice(None, self.pairs), slice(self.pairs, None))
        return ~((lower[y] > 0) | (upper[y] < 0) | (lower[x] > 0))

    def range(self, _function: Function, lower: Tensor, upper: Tensor) -> Ends:
        """Between the angles of the corners, or all of them."""
        corners = product((lower[: self.pairs], upper[: self.pairs]), (lower[self.pairs :], upper[self.pairs :]))
        angles = torch.stack([torch.atan2(y, x) for y, x in corners])
        torn = self._torn(lower, upper) | angles.isnan().any(0)
        least, most = torch.where(torn, -math.pi, angles.amin(0)), torch.where(torn, math.pi, angles.amax(0))
        return widened(least, most, 4.0 * MARGIN)


@rule("atan2.default")
def angle(builder: Builder, call: Call) -> Linear:
    """atan2(y, x)."""
    y, x = call.arguments["input"], call.arguments["other"]
    shape = tuple(torch.broadcast_shapes(y.shape, x.shape))
    for part in (y, x):
        if isinstance(part, Constant) and bool(constants.radius(part).any()):
            raise UnsupportedOperator(f"{call.place} reads a computed number, which is known up to rounding: no rule")
    parts = [
        builder.constant(part.value.expand(shape)) if isinstance(part, Constant) else broadcast(part, shape)
        for part in (y, x)
    ]
    layer = Angle(math.prod(shape))
    return builder.nonlinear(
        builder.stack(parts, call.origin),
        shape,
        layer,
        layer.constants(),
        "merge",
        origin=call.origin,
        enclosure=layer.range,
        local=layer.local,
    )
