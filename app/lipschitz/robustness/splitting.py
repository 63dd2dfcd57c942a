"""Whether rows keep their prediction within a given radius, by branch and bound on the phases of rectifiers.

A ball is cut where the argument of one rectifier changes its sign, and each part is bounded with linear bounds of its
own and multipliers for where it was cut (Bunel et al. 2020, Wang et al. 2021). All parts of many rows are bounded
together, round by round; a row is proved once none of its parts is open, and given up where they become too many.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..bounds.balls import Balls
from ..bounds.functionals import CHUNK, narrowed
from ..bounds.many import Many, is_rectifier
from ..bounds.tuned import Climb
from ..deadline import Deadline
from ..network.nodes import Activation, Network, Node

STEPS = 12
MOST_PARTS = 400
"""Of one row, before it is given up."""


@dataclass(frozen=True, eq=False)
class Parts:
    """Open parts: `row` `(N,)`, phases by the node that a rectifier reads, `(N, n)`, and the classes `(N, m)` whose
    margins are still open.
    """

    row: Tensor
    phases: Mapping[Node, Tensor]
    open: Tensor

    def __len__(self) -> int:
        return len(self.row)

    def part(self, chosen: Tensor) -> Parts:
        """Some of them."""
        phases = {node: own[chosen] for node, own in self.phases.items()}
        return Parts(self.row[chosen], phases, self.open[chosen])

    @staticmethod
    def joined(parts: list[Parts]) -> Parts:
        """All of them."""
        phases = {node: torch.cat([one.phases[node] for one in parts]) for node in parts[0].phases}
        return Parts(torch.cat([one.row for one in parts]), phases, torch.cat([one.open for one in parts]))


@dataclass(frozen=True, eq=False)
class Splitting:
    """Balls with the classes `(S,)` that should not change on them."""

    network: Network
    balls: Balls
    predicted: Tensor
    deadline: Deadline

    @property
    def rectifiers(self) -> list[Activation]:
        """What can be split."""
        nodes = self.network.nodes
        return [node for node in nodes if isinstance(node, Activation) and is_rectifier(node.scalar)]

    def proved(self) -> Tensor:
        """Of which balls it is proved, `(S,)`."""
        count, size = len(self.balls), self.network.output.size
        others = torch.arange(size) != self.predicted[:, None]
        phases = {node.source: torch.zeros(count, node.source.size, dtype=torch.int8) for node in self.rectifiers}
        parts, seen = Parts(torch.arange(count), phases, others), torch.zeros(count, dtype=torch.int64)
        failed = torch.zeros(count, dtype=torch.bool)
        while len(parts) and not self.deadline.passed:
            seen = seen + torch.bincount(parts.row, minlength=count)
            failed = failed | (seen > MOST_PARTS)
            parts = parts.part(~failed[parts.row])
            if not len(parts):
                break
            chunk = max(1, CHUNK // (4 * max(node.size for node in self.network.nodes)))
            children = [self._children(parts.part(some), failed) for some in torch.arange(len(parts)).split(chunk)]
            parts = Parts.joined(children) if children else parts
        failed[parts.row] = True
        return ~failed

    def _children(self, parts: Parts, failed: Tensor) -> Parts:
        """Both halves of every part that stays open; `failed` takes rows with nothing left to split."""
        balls = self.balls.part(parts.row)
        many = Many(self.network, balls, lambda: self.deadline.passed, parts.phases).run(narrowed)
        sample, other = (parts.open & ~many.empty.expand(len(parts))[:, None]).nonzero(as_tuple=True)
        if not len(sample):
            return parts.part(torch.zeros(0, dtype=torch.int64))
        c = self.predicted[parts.row[sample]]
        rows = torch.zeros(len(sample), self.network.output.size, dtype=torch.float64)
        rows[torch.arange(len(sample)), c] = 1.0
        rows[torch.arange(len(sample)), other] = -1.0
        climb = Climb(many, sample, rows)
        bound = climb.run(STEPS)
        still = torch.zeros_like(parts.open)
        still[sample, other] = ~(bound > 0.0)
        parts = replace(parts, open=still)
        score = self._scores(many, climb, bound, len(parts))
        kept = still.any(1).nonzero()[:, 0]
        best = score[kept].max(1)
        failed[parts.row[kept[~(best.values > 0.0)]]] = True
        ready = best.values > 0.0
        return self._halved(parts.part(kept[ready]), best.indices[ready])

    def _scores(self, many: Many, climb: Climb, bound: Tensor, count: int) -> Tensor:
        """What the relaxation of each rectifier costs the worst margin of a part, `(N, all of them)`."""
        worst = torch.full((count,), math.inf, dtype=torch.float64).scatter_reduce(0, climb.sample, bound, "amin")
        chosen = torch.zeros(count, dtype=torch.int64)
        is_worst = bound <= worst[climb.sample]
        chosen[climb.sample[is_worst]] = is_worst.nonzero()[:, 0]
        columns = []
        for node in self.rectifiers:
            source = many.ranges[node.source]
            least, most = source.lower.clamp(max=0.0), source.upper.clamp(min=0.0)
            gap = (-least * most / (most - least)).nan_to_num(nan=0.0)
            rows = climb.seen.get(node)
            size = torch.zeros_like(gap) if rows is None else _cost(rows[chosen], least, most, gap)
            columns.append(torch.where(many.phases[node.source] != 0, 0.0, size))
        return torch.cat(columns, 1)

    def _halved(self, parts: Parts, place: Tensor) -> Parts:
        """Each part on both sides of where one rectifier, by its place among all, changes its phase."""
        halves = []
        for sign in (1, -1):
            phases, before = {}, 0
            for node, own in parts.phases.items():
                mine = own.clone()
                here = ((place >= before) & (place < before + node.size)).nonzero()[:, 0]
                mine[here, place[here] - before] = sign
                phases[node], before = mine, before + node.size
            halves.append(replace(parts, phases=phases))
        return Parts.joined(halves)


def _cost(rows: Tensor, least: Tensor, most: Tensor, gap: Tensor) -> Tensor:
    """How far the lines that were taken are from the rectifier: the chord at 0, a line below at its worse end."""
    return torch.where(rows < 0.0, -rows * gap, rows * 0.5 * torch.minimum(-least, most))
