"""Lines for maxima and minima of entries (`Nonlinear.extreme`): which entry stands for which value.

A maximum is at least any of its entries, so the one that is largest in the middle of the range gives a line below, and
where that entry's least value is no less than all others' greatest ones it is the maximum. What selects the entries is
the map's own derivative in the middle: where entries tie it may mix them, and a mean of entries is no larger either.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..network.intervals import Interval
from ..network.nodes import Nonlinear


@dataclass(frozen=True, eq=False)
class Selection:
    """The entries that a maximum, or minimum, selects in the middle of its range; `settled` `(m,)`: everywhere."""

    node: Nonlinear
    middle: Tensor
    settled: Tensor

    @classmethod
    def of(cls, node: Nonlinear, source: Interval) -> Selection:
        """For arguments in that range, which has to be finite."""
        chosen = cls(node, source.lower / 2 + source.upper / 2, torch.zeros(node.size, dtype=torch.bool))
        return cls(node, chosen.middle, chosen._everywhere(source))

    def back(self, rows: Tensor) -> Tensor:
        """Rows `(B, m)` times the matrix that selects, `(B, n)`; an entry adds up at most `copies` of them."""
        with torch.enable_grad():
            x = self.middle.expand(len(rows), -1).clone().requires_grad_(True)
            (gradient,) = torch.autograd.grad(self.node.apply(x), x, rows, materialize_grads=True)
        return gradient.detach()

    @property
    def copies(self) -> int:
        """How many values may select one entry."""
        return round(self.node.constants["1"])

    def _everywhere(self, source: Interval) -> Tensor:
        """Where no other entry can win: told for windows that do not overlap, and without ties in the middle."""
        none, count = torch.zeros(self.node.size, dtype=torch.bool), self.node.size
        if self.copies > 1:
            return none
        names = self.back(torch.arange(1.0, count + 1, dtype=torch.float64)[None])[0]
        (places,) = names.nonzero(as_tuple=True)
        order = names[places].sort()
        if not torch.equal(order.values, torch.arange(1.0, count + 1, dtype=torch.float64)):
            return none
        chosen = places[order.indices]
        worst, best = (source.lower, source.upper) if self.node.extreme > 0 else (source.upper, source.lower)
        against = best.clone().index_copy(0, chosen, worst[chosen])
        return torch.eq(self.node.apply(against[None])[0], worst[chosen])
