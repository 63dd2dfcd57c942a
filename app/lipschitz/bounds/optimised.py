"""Linear bounds whose lines are chosen for each functional: the optimised slopes of Xu et al. (alpha-CROWN, ICLR 2021).

Which line below an activation gives the closest bound depends on the functional that is moved back through it. So each
functional has weights of its own, one for each open neuron, between the line of `lines` and the outermost tangents of
the function on its range: for a ReLU any line through its kink with a slope from 0 to 1. A mean of proved lines is a
proved line, so every step of the search is a bound as proved as the first, and the best of all counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..network.nodes import Activation, Node
from ..operators.rounding import TINY, UNIT
from .backward import Backward
from .lines import Fan

RATE, MOMENTUM = 0.3, (0.7, 0.9)
"""Of Adam, for parts in [0, 1]."""


@dataclass(frozen=True, eq=False)
class Choice:
    """Lines that prove the ends of a node's entries at `positions`, `(k,)`.

    `slopes` by activation: its neurons `(n,)`, and their slopes `(2 k, n)` for the lower ends, then for the upper ones.
    """

    positions: Tensor
    slopes: Mapping[Activation, tuple[Tensor, Tensor]]

    @classmethod
    def joined(cls, parts: Sequence[Choice]) -> Choice:
        """Of chunks of one node's positions, which have the same neurons."""
        slopes = {
            node: (neurons, torch.cat([part.slopes[node][1].chunk(2)[half] for half in range(2) for part in parts]))
            for node, (neurons, _) in parts[0].slopes.items()
        }
        return cls(torch.cat([part.positions for part in parts]), slopes)

    @property
    def count(self) -> int:
        """Numbers."""
        return sum(rows.numel() for _, rows in self.slopes.values())


@dataclass(eq=False)
class Choosing(Backward):
    """Linear bounds with the activations' `fans`; `shares`, `(B, 2, k)`, mix those of open neurons."""

    fans: Mapping[Activation, Fan] = field(default_factory=dict)
    shares: Mapping[Activation, Tensor] = field(default_factory=dict)
    slopes: dict[Activation, Tensor] = field(default_factory=dict)

    def _through(self, node: Node, rows: Tensor) -> None:
        share = self.shares.get(node) if isinstance(node, Activation) else None
        if share is None or not isinstance(node, Activation):
            super()._through(node, rows)
            return
        fan, lines = self.fans[node], self.lines[node]
        at, own = fan.positions, rows[:, fan.positions]
        slope, offset = fan.line(share, own > 0.0)
        self.slopes[node] = slope.detach()
        above, below = rows.clamp(min=0.0), rows.clamp(max=0.0)
        plain = (above * lines.lower[0] + below * lines.upper[0]).index_copy(1, at, own * slope)
        reach = self._reach(node.source)
        self._pass(node.source, plain, UNIT * (plain.detach().abs() @ reach) + TINY * reach.sum())
        self._offsets(above.index_fill(1, at, 0.0), below.index_fill(1, at, 0.0), lines.lower[1], lines.upper[1])
        size = own.detach().abs() @ (fan.offsets + fan.slopes * reach[at])
        self._add((own * offset).sum(1), (len(at) + 16) * UNIT * size, len(at) * 8)


def closest(
    choosing: Choosing, node: Node, rows: Tensor, order: list[Node], steps: int
) -> tuple[Tensor, dict[Activation, Tensor]]:
    """Lower bounds, `(B,)`, of rows `(B, n)` times the node's value, and slopes `(B, k)` of lines that prove them.

    They are the best of some steps of Adam, of which the first has the plain lines.
    """
    choosing.shares = shares = {
        one: torch.zeros(len(rows), 2, len(fan.positions), dtype=rows.dtype, device=rows.device, requires_grad=True)
        for one, fan in choosing.fans.items()
    }
    adam = torch.optim.Adam(list(shares.values()), lr=RATE, betas=MOMENTUM)
    with torch.enable_grad():
        bound = choosing.least(node, rows, order)
    best, slopes, unit = bound.detach(), dict(choosing.slopes), bound.detach().abs().clamp(min=TINY)
    for _ in range(steps):
        with torch.enable_grad():
            loss = -torch.where(torch.isfinite(bound), bound / unit, 0.0).sum()
        if not loss.requires_grad:
            break
        adam.zero_grad()
        loss.backward()
        _step(adam, shares)
        with torch.enable_grad():
            bound = choosing.least(node, rows, order)
        better = bound.detach() > best
        best = torch.where(better, bound.detach(), best)
        slopes = {one: torch.where(better[:, None], own, slopes[one]) for one, own in choosing.slopes.items()}
    return best, slopes


def _step(adam: torch.optim.Adam, shares: Mapping[Activation, Tensor]) -> None:
    """One step, and back to parts that are not negative and add up to at most one."""
    for share in shares.values():
        if share.grad is not None:
            share.grad.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
    adam.step()
    for share in shares.values():
        own = share.detach().clamp_(0.0, 1.0)
        own.div_(own.sum(1, keepdim=True).clamp(min=1.0))
