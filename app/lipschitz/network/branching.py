"""Steps of an expression that choose between two others, and the points where any step changes its branch."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from .expression import Apply, Line, Number, Product, Step, Sum, both
from .jets import Jet


@dataclass(frozen=True)
class Extremum(Step):
    """max(f, g) for sign 1, min(f, g) for sign -1."""

    sign: float
    left: Step
    right: Step

    def value(self, x: Tensor) -> Tensor:
        """The larger or smaller one."""
        choose = torch.maximum if self.sign > 0 else torch.minimum
        return choose(self.left.value(x), self.right.value(x))

    def jet(self, x: Jet, at: Fraction) -> Jet:
        """The branch that is active between the kinks, where that is known."""
        gap = self.gap.line
        if gap is None:
            return self.left.jet(x, at).larger(self.right.jet(x, at), self.sign)
        active = self.left if self.sign * (gap[0] * at + gap[1]) >= 0 else self.right
        return active.jet(x, at)

    @property
    def gap(self) -> Step:
        return Sum(self.left, Product(Number(-1.0), self.right))

    def exact(self, x: Fraction) -> Fraction | None:
        """The larger or smaller one."""
        return both(max if self.sign > 0 else min, self.left.exact(x), self.right.exact(x))

    @property
    def operands(self) -> tuple[Step, ...]:
        return self.left, self.right


@dataclass(frozen=True)
class Choice(Step):
    """`yes` where `gap` > 0 and `no` where `gap` < 0; continuous, so that either does where it is zero."""

    gap: Step
    yes: Step
    no: Step

    def value(self, x: Tensor) -> Tensor:
        return torch.where(self.gap.value(x) > 0, self.yes.value(x), self.no.value(x))

    def jet(self, x: Jet, at: Fraction) -> Jet:
        """The branch between the kinks."""
        return self._branch(at).jet(x, at)

    def _branch(self, at: Fraction) -> Step:
        line = self.gap.line
        assert line is not None
        return self.yes if line[0] * at + line[1] > 0 else self.no

    def continuous(self) -> bool:
        """Whether the gap is affine and the branches provably meet where it is zero."""
        if self.gap.line is None or self.gap.line == (Fraction(0), Fraction(0)):
            return False
        crossing = root(self.gap.line, Fraction(0))
        if crossing is None:
            return True
        return both(lambda a, b: a - b, self.yes.exact(crossing), self.no.exact(crossing)) == 0

    def exact(self, x: Fraction) -> Fraction | None:
        return self._branch(x).exact(x)

    @property
    def operands(self) -> tuple[Step, ...]:
        """Both branches and what chooses."""
        return self.gap, self.yes, self.no


def root(line: Line, level: Fraction) -> Fraction | None:
    """Where a x + b reaches the level; None for a constant."""
    return None if line[0] == 0 else (level - line[1]) / line[0]


def kinks(step: Step) -> set[Fraction]:
    """All points where some step changes its branch for a reason that is exactly known."""
    points = {point for operand in step.operands for point in kinks(operand)}
    if isinstance(step, Apply) and step.argument.line is not None:
        points |= {point for knot in step.knots() if (point := root(step.argument.line, knot)) is not None}
    if isinstance(step, Extremum | Choice) and step.gap.line is not None:
        crossing = root(step.gap.line, Fraction(0))
        points |= set() if crossing is None else {crossing}
    return points


def continuous(step: Step) -> bool:
    """Whether every choice in the expression is continuous."""
    if isinstance(step, Choice) and not step.continuous():
        return False
    return all(continuous(operand) for operand in step.operands)
