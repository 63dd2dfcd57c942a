"""Ranges of open neurons' arguments on parts of the domain, by linear bounds that know the parts' conditions.

A condition v_i >= k holds on the part, so for every gamma >= 0 the least value of a^T v there is at least that of
a^T v - gamma (v_i - k): the beta of Wang et al. (beta-CROWN, NeurIPS 2021). That gamma, and the slopes alpha of the
lines through kinks, are found by a few steps of Adam; whatever they are, the bound is proved: the functionals are moved
back as `bounds.backward` does, what rounding may have changed is bounded for the arguments that are possible, and
subtracted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ...bounds.backward import DUAL, SLACK
from ...bounds.pull import OUTWARD
from ...domain import Ball
from ...operators.rounding import UNIT, gamma
from ...operators.scaling import safe_norm
from .functionals import Functionals
from .kinks import Kinks
from .part import Parts

RATE = 0.2
"""Of Adam's first step, for alpha; for gamma relative to the ranges' lengths."""
MOMENTUM = (0.7, 0.9)
CONTRADICTING = 20
"""Steps towards a proof that a part is empty."""
VANISHED = 2.0**-1000
"""More than all products that underflow in one functional, over the sizes of their arguments."""


@dataclass(frozen=True, eq=False)
class Narrowing:
    """Of a network's open neurons; `ball` is the domain where it is no box. Adam makes `steps` steps."""

    known: Functionals
    kinks: Kinks
    ball: Ball | None
    steps: int

    def ranges(self, parts: Parts) -> tuple[Parts, Tensor]:
        """The parts with narrower ranges, and which of them are proved empty, `(P,)`."""
        for layer in self.known.layers:
            parts = self._narrowed(parts, layer)
        empty = (parts.lower > parts.upper).any(1)
        return parts, empty | self._contradictory(parts)

    def _contradictory(self, parts: Parts) -> Tensor:
        """Whether the conditions are proved to contradict each other: a sum of them is positive on the whole part."""
        asked = torch.isfinite(parts.least) | torch.isfinite(parts.most)
        none = torch.zeros(len(parts), dtype=torch.bool)
        if not self.steps or not bool(asked.any()):
            return none
        shape = (len(parts), 1, self.known.count)
        alpha = self.kinks.adaptive(parts.lower, parts.upper)[:, None].expand(shape).clone()
        signs = torch.isfinite(parts.least).double() - torch.isfinite(parts.most).double()
        last, nothing = self._last(parts, torch.arange(0)), torch.zeros(1, self.known.count, dtype=torch.float64)
        start = (0.1 * signs)[:, None]
        least = none.double()[:, None] - torch.inf
        return self._optimised(parts, nothing, alpha, start, last=last, best=least, steps=CONTRADICTING)[:, 0] > 0.0

    def _narrowed(self, parts: Parts, layer: slice) -> Parts:
        """Both ends for the neurons of one activation that are open in any of the parts."""
        low, high = self.kinks.slopes(parts.lower, parts.upper)
        chosen = torch.arange(self.known.count)[layer]
        chosen = chosen[((low < high) & (parts.lower <= parts.upper)).any(0)[layer]]
        if not len(chosen):
            return parts
        least = self._bounded(parts, chosen)
        lower, upper = parts.lower.clone(), parts.upper.clone()
        lower[:, chosen] = torch.maximum(lower[:, chosen], least[:, : len(chosen)])
        upper[:, chosen] = torch.minimum(upper[:, chosen], -least[:, len(chosen) :])
        return replace(parts, lower=lower, upper=upper)

    def _bounded(self, parts: Parts, chosen: Tensor) -> Tensor:
        """The least values of v and of -v for the neurons chosen, `(P, 2 k)`."""
        count = len(chosen)
        targets = torch.zeros(2 * count, self.known.count, dtype=torch.float64)
        targets[torch.arange(count), chosen], targets[count + torch.arange(count), chosen] = 1.0, -1.0
        last = self._last(parts, chosen)
        shape = (len(parts), 2 * count, self.known.count)
        alpha = self.kinks.adaptive(parts.lower, parts.upper)[:, None].expand(shape).clone()
        gamma_ = torch.zeros(shape, dtype=torch.float64)
        best = self._least(parts, targets, alpha, gamma_, last)
        is_asked = torch.isfinite(parts.least) | torch.isfinite(parts.most)
        if not self.steps or not bool(is_asked.any()):
            return best
        return self._optimised(parts, targets, alpha, gamma_, last=last, best=best, steps=self.steps)

    def _optimised(
        self, parts: Parts, targets: Tensor, alpha: Tensor, gamma_: Tensor, *, last: int, best: Tensor, steps: int
    ) -> Tensor:
        """The best of some steps; every one is as proved as the first."""
        lengths = (parts.upper - parts.lower).clamp(min=1e-12)
        own = (targets.abs() @ lengths[:, :, None]).squeeze(2)
        own = torch.where(own > 0.0, own, 1.0)
        unit = own[:, :, None] / lengths[:, None]
        signs = (torch.isfinite(parts.most), torch.isfinite(parts.least))
        steep, relative = alpha.requires_grad_(True), gamma_.requires_grad_(True)
        adam = torch.optim.Adam([steep, relative], lr=RATE, betas=MOMENTUM)
        for _ in range(steps):
            with torch.enable_grad():
                least = self._least(parts, targets, steep, relative * unit, last)
                loss = -torch.where(torch.isfinite(least), least / own, 0.0).sum()
            adam.zero_grad()
            loss.backward()
            for one in (steep, relative):
                assert one.grad is not None
                one.grad.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
            adam.step()
            with torch.no_grad():
                steep.clamp_(0.0, 1.0)
                relative.copy_(torch.where(signs[1][:, None], relative, relative.clamp(max=0.0)))
                relative.copy_(torch.where(signs[0][:, None], relative, relative.clamp(min=0.0)))
            best = torch.maximum(best, least.detach())
        with torch.no_grad():
            return torch.maximum(best, self._least(parts, targets, steep, relative * unit, last))

    def _last(self, parts: Parts, chosen: Tensor) -> int:
        """The last activation, by its place, that the targets or any condition need."""
        asked = (torch.isfinite(parts.least) | torch.isfinite(parts.most)).any(0)
        asked[chosen] = True
        furthest = int(asked.nonzero().max())
        return next(k for k, layer in enumerate(self.known.layers) if furthest < layer.stop)

    def _least(self, parts: Parts, targets: Tensor, alpha: Tensor, gamma_: Tensor, last: int) -> Tensor:
        """Lower bounds, `(P, R)`, of rows `(R, M)` times v on the parts."""
        known = self.known
        lines = self.kinks.relaxed(parts.lower[:, None], parts.upper[:, None], alpha)
        ends = torch.where(gamma_ > 0, parts.least[:, None], torch.where(gamma_ < 0, parts.most[:, None], 0.0))
        rows, total = targets - gamma_, Total((gamma_ * ends).sum(2), (gamma_ * ends).detach().abs().sum(2))
        reach = torch.maximum(parts.lower.abs(), parts.upper.abs())[:, None]
        asked = targets.abs() + gamma_.detach().abs()
        x, z = rows.new_zeros(*rows.shape[:2], known.below.x.shape[1]), torch.zeros_like(rows)
        for layer in reversed(known.layers[: last + 1]):
            above, below = _signs(z[:, :, layer])
            own = rows[:, :, layer] + above * lines.below[..., layer] + below * lines.above[..., layer]
            total.add(above * lines.under[..., layer] + below * lines.over[..., layer])
            steep = torch.maximum(lines.below[..., layer].abs(), lines.above[..., layer].abs()).detach()
            total.lose(4 * UNIT, (asked[:, :, layer] + z[:, :, layer].detach().abs() * steep) * reach[..., layer])
            above, below = _signs(own)
            total.add(above * known.below.constant[layer] + below * known.above.constant[layer])
            x = x + above @ known.below.x[layer] + below @ known.above.x[layer]
            z = z + above @ known.below.z[layer] + below @ known.above.z[layer]
            total.lose(gamma(known.count + len(known.layers) + 8), own.detach().abs() * self.reaches[layer])
            total.lose(VANISHED, (1.0 + own.detach().abs()) * self.furthest)
        return total.least(*self._on_domain(parts, x), x.shape[2])

    @cached_property
    def reaches(self) -> Tensor:
        """At least the sizes of the terms that make up a functional of each neuron, `(M,)`."""
        known = self.known
        x = torch.maximum(known.below.x.abs(), known.above.x.abs()) @ known.reach_x
        z = torch.maximum(known.below.z.abs(), known.above.z.abs()) @ known.reach_z
        return OUTWARD * (x + z)

    @cached_property
    def furthest(self) -> float:
        """The sum of all arguments' sizes, and one more for each."""
        reach = torch.cat([self.known.reach_x, self.known.reach_z])
        return float(reach.sum()) + 2.0 * len(reach)

    def _on_domain(self, parts: Parts, x: Tensor) -> tuple[Tensor, Tensor]:
        """The least values of rows `(P, R, n)` times the input, and a bound of the sizes that make them up."""
        if self.ball is not None:
            centre = self.ball.centre(x.shape[2])
            away = self.ball.radius * safe_norm(x, DUAL[self.ball.p], dim=2)
            return x @ centre - away, x.detach().abs() @ centre.abs() + away.detach()
        middle = parts.from_ / 2 + parts.to / 2
        half = torch.maximum(parts.to - middle, middle - parts.from_) * (1 + 4 * UNIT)
        value = _times(x, middle) - _times(x.abs(), half)
        return value, _times(x.detach().abs(), middle.abs() + half)


@dataclass
class Total:
    """A sum `(P, R)`, the sizes that make it up, and what else is lost to rounding."""

    constant: Tensor
    size: Tensor
    lost: Tensor | float = 0.0
    terms: int = 8

    def add(self, numbers: Tensor) -> None:
        """Numbers `(P, R, k)`, each a product or two."""
        self.constant = self.constant + numbers.sum(2)
        self.size = self.size + 2.0 * numbers.detach().abs().sum(2)
        self.terms += numbers.shape[2] + 4

    def lose(self, share: float, sizes: Tensor) -> None:
        """A share of some sizes, `(P, R, k)`."""
        self.lost = self.lost + share * sizes.sum(2)

    def least(self, of_input: Tensor, size: Tensor, terms: int) -> Tensor:
        """What is certain of the sum with the input's part, of so many terms."""
        value = self.constant + of_input
        lost = self.lost + gamma(self.terms + 64) * self.size + 2 * UNIT * value.detach().abs()
        lost = lost + gamma(terms + 16) * size
        return (value - SLACK * OUTWARD * lost).nan_to_num(nan=-torch.inf, posinf=-torch.inf, neginf=-torch.inf)


def _signs(rows: Tensor) -> tuple[Tensor, Tensor]:
    return rows.clamp(min=0.0), rows.clamp(max=0.0)


def _times(rows: Tensor, columns: Tensor) -> Tensor:
    """`(P, R, n)` times `(P, n)`: `(P, R)`."""
    return (rows @ columns[:, :, None]).squeeze(2)
