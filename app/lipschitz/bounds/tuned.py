"""Linear bounds of functionals, tuned: slopes below rectifiers (alpha-CROWN, Xu et al. 2021) and multipliers of phases
(beta-CROWN, Wang et al. 2021) climb to a higher bound.

On the part of a ball where s z >= 0, f >= f - b s z for any b >= 0; and any slope from 0 to 1 is below a rectifier. So
every step's bound is proved as it stands, and the best of them counts. Gradients are those of the relaxed network, all
of it linear, at the point of the ball where the bound is least.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..network.nodes import Activation, Node
from ..operators.scaling import safe_norm
from .functionals import Functionals, Least
from .many import Many

RATE, DECAY = 0.3, 0.85


@dataclass(eq=False)
class Climb:
    """Of functionals `rows` `(K, m)` of the output on balls `sample` `(K,)`: `best` `(K,)` of all steps."""

    many: Many
    sample: Tensor
    rows: Tensor
    best: Tensor = field(init=False)
    slopes: dict[Activation, Tensor] = field(init=False)
    multipliers: dict[Activation, Tensor] = field(init=False)
    seen: Mapping[Activation, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.best = torch.full((len(self.rows),), -torch.inf, dtype=torch.float64)
        nodes = [node for node in self.many.network.nodes if isinstance(node, Activation)]
        self.slopes = {node: self.many.lines_of(node).below[0][self.sample] for node in nodes}
        self.multipliers = {
            node: torch.zeros_like(self.slopes[node]) for node in nodes if self._phases(node) is not None
        }

    def run(self, steps: int) -> Tensor:
        """The best bounds after so many steps; those that are positive already are not improved."""
        moments: dict[tuple[str, Activation], tuple[Tensor, Tensor]] = {}
        for step in range(steps + 1):
            functionals = Functionals(self.many, self.sample, self.slopes)
            least = functionals.least(self.many.network.output, self.rows, self._signed())
            balls = self.many.balls
            centres, radii = balls.centres[self.sample], balls.radii[self.sample]
            self.best = torch.maximum(self.best, least.on(centres, radii, balls.p))
            self.seen = functionals.seen
            if step == steps or bool((self.best > 0.0).all()):
                break
            self._climb(self._values(self._worst(least, centres, radii)), moments, RATE * DECAY**step)
        return self.best

    def _phases(self, node: Activation) -> Tensor | None:
        return self.many.phases.get(node.source)

    def _signed(self) -> dict[Activation, Tensor]:
        signed = {}
        for node, own in self.multipliers.items():
            phases = self._phases(node)
            assert phases is not None
            signed[node] = -own * phases[self.sample]
        return signed

    def _worst(self, least: Least, centres: Tensor, radii: Tensor) -> Tensor:
        """Where on its ball each bound is least."""
        rows, p = least.rows, self.many.balls.p
        if p == "inf":
            return centres - radii[:, None] * rows.sign()
        if p == "1":
            largest = rows.abs().argmax(1, keepdim=True)
            one = torch.zeros_like(rows).scatter_(1, largest, rows.gather(1, largest).sign())
            return centres - radii[:, None] * one
        return centres - radii[:, None] * rows / safe_norm(rows, 2.0, dim=1).clamp(min=1e-300)[:, None]

    def _values(self, x: Tensor) -> dict[Node, Tensor]:
        """The relaxed network's values, each activation by the line that its functional took."""
        values: dict[Node, Tensor] = {self.many.network.input: x}
        for node in self.many.network.nodes[1:]:
            if isinstance(node, Activation) and node in self.seen:
                lines, z = self.many.lines_of(node), values[node.source]
                below = self.slopes[node] * z + lines.below[1][self.sample]
                above = lines.above[0][self.sample] * z + lines.above[1][self.sample]
                values[node] = torch.where(self.seen[node] >= 0.0, below, above)
            else:
                values[node] = node.apply(*(values[source] for source in node.sources))
        return values

    def _climb(
        self, values: Mapping[Node, Tensor], moments: dict[tuple[str, Activation], tuple[Tensor, Tensor]], rate: float
    ) -> None:
        for node, slopes in self.slopes.items():
            if node not in self.seen or not self.many.lines_of(node).is_rectifier:
                continue
            source, z = self.many.ranges[node.source], values[node.source]
            is_open = ((source.lower < 0.0) & (source.upper > 0.0))[self.sample]
            pull = torch.where(is_open, self.seen[node].clamp(min=0.0) * z, 0.0)
            self.slopes[node] = (slopes + _step(moments, ("slope", node), pull, rate)).clamp(0.0, 1.0)
        for node, own in self.multipliers.items():
            phases = self._phases(node)
            assert phases is not None
            pull = -phases[self.sample] * values[node.source]
            size = self.rows.abs().amax(1, keepdim=True)
            moved = own + size * _step(moments, ("phase", node), pull, rate)
            self.multipliers[node] = torch.where(phases[self.sample] != 0, moved, 0.0).clamp(min=0.0)


def _step(
    moments: dict[tuple[str, Activation], tuple[Tensor, Tensor]], key: tuple[str, Activation], pull: Tensor, rate: float
) -> Tensor:
    """Adam's step (Kingma and Ba 2015), upwards."""
    first, second = moments.get(key, (torch.zeros_like(pull), torch.zeros_like(pull)))
    first, second = 0.7 * first + 0.3 * pull, 0.9 * second + 0.1 * pull.square()
    moments[key] = first, second
    return rate * first / (second.sqrt() + 1e-12)
