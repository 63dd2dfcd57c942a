"""Random functions of tensors, drawn from all operators that have a rule; one seed gives one function.

A program is a list of steps, each of which reads earlier values. It can be run in another order, and
disguised by steps that change nothing, without becoming another function.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tests.lipschitz.random_operators import OPERATORS, STEEP, Draw, Operator, Shape

MAX_ENTRIES = 48
"""Entries of one value: Jacobians of this size are cheap."""


@dataclass(frozen=True, eq=False)
class Step:
    """One operator with its parameters drawn, and the positions of the values that it reads."""

    name: str
    reads: tuple[int, ...]
    apply: Callable[..., Tensor]


@dataclass(frozen=True, eq=False)
class Program:
    """A function of tensors of `shapes`; values count from the inputs, then one a step."""

    shapes: tuple[Shape, ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]
    order: tuple[int, ...]

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        values = dict(enumerate(inputs))
        for position in self.order:
            step = self.steps[position]
            values[len(inputs) + position] = step.apply(*(values[read] for read in step.reads))
        return tuple(values[output] for output in self.outputs)

    def flat(self, x: Tensor) -> Tensor:
        """All outputs end to end, at one flat input."""
        pieces = x.split([math.prod(shape) for shape in self.shapes])
        results = self(*(piece.reshape(shape) for piece, shape in zip(pieces, self.shapes, strict=True)))
        return torch.cat([result.reshape(-1) for result in results])

    def scaled(self, factor: float) -> Callable[..., tuple[Tensor, ...]]:
        """The function times a number."""
        return lambda *inputs: tuple(factor * y for y in self(*inputs))

    def reordered(self, rng: random.Random) -> Program:
        """The same steps in another order that respects what reads what."""
        count, done, order = len(self.shapes), set(range(len(self.shapes))), []
        while len(order) < len(self.steps):
            ready = [i for i, step in enumerate(self.steps) if count + i not in done and done.issuperset(step.reads)]
            order.append(rng.choice(ready))
            done.add(count + order[-1])
        return replace(self, order=tuple(order))

    def disguised(self, rng: random.Random) -> Program:
        """The same function, every value reshaped, permuted or cut up and put together again."""
        return replace(self, steps=tuple(_disguised(step, rng.choice(DISGUISES)) for step in self.steps))

    def __str__(self) -> str:
        lines = [f"x{i}: {shape}" for i, shape in enumerate(self.shapes)]
        lines += [f"x{len(self.shapes) + i} = {s.name}{s.reads}" for i, s in enumerate(self.steps)]
        return "\n".join([*lines, f"outputs {self.outputs}"])


DISGUISES: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda x: x,
    lambda x: x.reshape(-1).reshape(x.shape),
    lambda x: x.flatten().unflatten(0, x.shape) if x.ndim else x,
    lambda x: x.movedim(0, -1).contiguous().movedim(-1, 0) if x.ndim else x,
    lambda x: x.unsqueeze(0).squeeze(0),
    lambda x: torch.cat([x[:1], x[1:]]) if x.ndim else x,
    lambda x: x.flip(0).flip(0) if x.ndim else x,
    lambda x: x.neg().neg(),
)


def _disguised(step: Step, disguise: Callable[[Tensor], Tensor]) -> Step:
    return replace(step, apply=lambda *values: disguise(step.apply(*values)))


def random_program(seed: int, steep: float = 0.004) -> Program:
    """A program of up to nine steps with one or two inputs and outputs; `steep` is the share of steps that
    are Lipschitz on bounded sets only."""
    draw = Draw(random.Random(seed), torch.Generator().manual_seed(seed))
    shapes = tuple(_input_shape(draw) for _ in range(draw.choice([1, 1, 1, 2])))
    values = [draw.tensor(*shape) for shape in shapes]
    steps: list[Step] = []
    while len(steps) < 9 and (len(steps) < 3 or draw.integer(0, 6)):
        operators = STEEP if draw.random.random() < steep else OPERATORS
        step = _step(draw, draw.choice(list(operators.values())), values)
        if step is not None:
            steps.append(step)
            values.append(step.apply(*(values[read] for read in step.reads)))
    last = len(values) - 1
    outputs = (last,) if draw.integer(0, 3) else (last, draw.integer(len(shapes), last))
    return Program(shapes, tuple(steps), outputs, tuple(range(len(steps))))


def _input_shape(draw: Draw) -> Shape:
    batch = draw.choice([1, 1, 2])
    return draw.choice([(draw.integer(2, 8),), (batch, draw.integer(2, 6)),
                        (batch, draw.integer(1, 3), draw.integer(3, 6)),
                        (batch, draw.choice([1, 2, 4]), draw.integer(2, 4), draw.integer(2, 4))])  # fmt: skip


def _step(draw: Draw, operator: Operator, values: Sequence[Tensor]) -> Step | None:
    """The operator on the last value or an earlier one, and on random others; None where it does not fit."""
    last = len(values) - 1
    first = last if draw.integer(0, 3) else draw.integer(0, last)
    reads = (first, *(draw.integer(0, last) for _ in range(operator.arity - 1)))
    apply = operator.draw(draw, *(values[read].shape for read in reads))
    if apply is None:
        return None
    result = apply(*(values[read] for read in reads))
    sensible = 0 < result.numel() <= MAX_ENTRIES and bool(result.isfinite().all())
    return Step(operator.name, reads, apply) if sensible else None
