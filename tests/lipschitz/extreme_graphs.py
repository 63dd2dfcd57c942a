"""Random small networks with extreme numbers, each as a torch function and in 3,072-bit arithmetic.

A value is a flat vector. A step knows both readings: on float64 tensors, which is traced, and on arrays of mpmath
numbers, which is the function with the stored weights in real arithmetic. One seed gives one network.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

mp = mpmath.mp.clone()
mp.prec = 3072
Exact = Any
"""A flat numpy array of mpmath numbers."""
LARGEST = mpmath.mpf(2) ** 3000
"""Arguments of exp beyond this are left alone: the result's exponent would not fit into memory."""


class TooFar(Exception):
    """A value that mpmath cannot hold."""


@dataclass(frozen=True, eq=False)
class Step:
    """One operation with its numbers drawn, and the positions of the values that it reads."""

    name: str
    reads: tuple[int, ...]
    rounded: Callable[..., Tensor]
    exact: Callable[..., Exact]


@dataclass(frozen=True, eq=False)
class Graph:
    """A function of one flat input; value 0 is the input, and the last value the output."""

    size: int
    steps: tuple[Step, ...]

    def __call__(self, x: Tensor) -> Tensor:
        values = [x]
        for step in self.steps:
            values.append(step.rounded(*(values[read] for read in step.reads)))
        return values[-1]

    def exactly(self, x: Exact) -> Exact:
        """In real arithmetic, to 3,072 bits."""
        values = [x]
        for step in self.steps:
            values.append(step.exact(*(values[read] for read in step.reads)))
        return values[-1]

    def __str__(self) -> str:
        return f"x {self.size}; " + "; ".join(f"{i + 1} = {s.name}{s.reads}" for i, s in enumerate(self.steps))


def exact(numbers: Tensor) -> Exact:
    """The same numbers in mpmath."""
    found = np.empty(tuple(numbers.shape), dtype=object)
    found[...] = np.vectorize(mp.mpf, otypes=[object])(numbers.detach().numpy()) if numbers.numel() else 0
    return found


def entrywise(function: Callable[[Any], Any]) -> Callable[[Exact], Exact]:
    return lambda x: np.array([function(entry) for entry in x], dtype=object)


def _exp(x: Any) -> Any:
    if abs(x) > LARGEST:
        raise TooFar
    return mp.exp(x)


def _expm1(x: Any) -> Any:
    return mp.expm1(x) if abs(x) < 1 else _exp(x) - 1


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + _exp(-x)) if x > 0 else _exp(x) / (1 + _exp(x))


def _softplus(x: Any) -> Any:
    return max(x, mp.zero) + mp.log1p(_exp(-abs(x)))


def _tanh(x: Any) -> Any:
    return mp.tanh(x) if abs(x) < LARGEST else mp.sign(x)


def _erf(x: Any) -> Any:
    return mp.erf(x) if abs(x) < 60 else mp.sign(x) * (1 - (_exp(-x * x) if abs(x) < 1e400 else 0) / abs(x))


def _clamp(low: float, high: float) -> Callable[[Any], Any]:
    return lambda x: min(max(x, mp.mpf(low)), mp.mpf(high))


Activation = tuple[Callable[[Tensor], Tensor], Callable[[Any], Any]]

PIECEWISE: dict[str, Activation] = {
    "relu": (F.relu, lambda x: max(x, mp.zero)),
    "leaky": (lambda x: F.leaky_relu(x, 0.125), lambda x: x if x > 0 else x / 8),
    "leaky 1e-300": (lambda x: F.leaky_relu(x, 1e-300), lambda x: x if x > 0 else x * mp.mpf(1e-300)),
    "abs": (torch.abs, abs),
    "hardtanh": (F.hardtanh, _clamp(-1, 1)),
    "relu6": (F.relu6, _clamp(0, 6)),
    "clamp": (lambda x: x.clamp(-1e-200, 1e100), _clamp(-1e-200, 1e100)),
    "softshrink": (F.softshrink, lambda x: mp.sign(x) * max(abs(x) - 0.5, mp.zero)),
}
SMOOTH: dict[str, Activation] = {
    "tanh": (torch.tanh, _tanh),
    "sigmoid": (torch.sigmoid, _sigmoid),
    "softplus": (F.softplus, _softplus),
    "elu": (F.elu, lambda x: x if x > 0 else _expm1(x)),
    "celu": (lambda x: F.celu(x, 2.0), lambda x: x if x > 0 else 2 * _expm1(x / 2)),
    "silu": (F.silu, lambda x: x * _sigmoid(x)),
    "gelu": (F.gelu, lambda x: x * (1 + _erf(x / mp.sqrt(2))) / 2),
    "erf": (torch.erf, _erf),
    "atan": (torch.atan, mp.atan),
    "softsign": (F.softsign, lambda x: x / (1 + abs(x))),
    "log sigmoid": (F.logsigmoid, lambda x: -_softplus(-x)),
    "mish": (F.mish, lambda x: x * _tanh(_softplus(x))),
    "hardswish": (F.hardswish, lambda x: x * min(max(x + 3, mp.zero), mp.mpf(6)) / 6),
    "hardsigmoid": (F.hardsigmoid, lambda x: min(max(x + 3, mp.zero), mp.mpf(6)) / 6),
    "sin": (torch.sin, lambda x: mp.sin(x) if abs(x) < LARGEST else _too_far()),
    "cos": (torch.cos, lambda x: mp.cos(x) if abs(x) < LARGEST else _too_far()),
}
STEEP: dict[str, Activation] = {
    "exp": (torch.exp, _exp),
    "square": (torch.square, lambda x: x * x),
    "cube": (lambda x: x**3, lambda x: x**3),
    "expm1": (torch.expm1, _expm1),
}
"""Functions with a finite constant on bounded sets only."""


def _too_far() -> Any:
    raise TooFar


@dataclass(frozen=True, eq=False)
class Draw:
    """The one source of chance of a graph."""

    random: random.Random

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def choice(self, among: Sequence[Any]) -> Any:
        return self.random.choice(among)

    def integer(self, low: int, high: int) -> int:
        return self.random.randint(low, high)

    def decade(self) -> float:
        """An exponent of ten: extreme, ordinary, or 0."""
        return self.choice(
            [0.0, 0.0, self.random.uniform(-3, 3), self.random.uniform(-160, 160), self.random.uniform(-300, 300)]
        )

    def number(self) -> float:
        """Of size one or so, in the corners of float64's rounding, or out of its range of ordinary numbers."""
        kind = self.integer(0, 9)
        if kind <= 4:
            return self.random.gauss(0, 1)
        if kind == 5:
            return self.choice([0.0, -0.0, 1.0, -1.0, 0.5, 2.0])
        if kind == 6:
            return self.choice([1, -1]) * (1 + self.choice([1, -1, 2, 3]) * 2.0 ** -self.integer(20, 52))
        if kind == 7:
            return self.choice([5e-324, -5e-324, 3e-310, 2.3e-308, -1e-320])
        return self.choice([1, -1]) * 10.0 ** self.random.uniform(-290, 290) if kind == 8 else 1 / 3

    def numbers(self, count: int, decade: float) -> Tensor:
        """Numbers about 10^decade, finite."""
        found = [self._scaled(decade) for _ in range(count)]
        return torch.tensor(found, dtype=torch.float64)

    def _scaled(self, decade: float) -> float:
        number = self.random.gauss(0, 1) if self.chance(0.8) else self.number()
        half = 10.0 ** (max(-300.0, min(300.0, decade)) / 2)
        scaled = number * half * half
        return scaled if math.isfinite(scaled) else number

    def weight(self, rows: int, columns: int, decade: float) -> Tensor:
        """A matrix with zeros, duplicates or rows that cancel all but their last bits."""
        found = self.numbers(rows * columns, decade).reshape(rows, columns)
        kind = self.integer(0, 7)
        if kind == 0:
            found[self.integer(0, rows - 1)] = 0.0
        if kind == 1:
            found[:, self.integer(0, columns - 1)] = 0.0
        if kind == 2:
            found[self.integer(0, rows - 1)] = found[0]
        if kind == 3:
            found[self.integer(0, rows - 1)] = -found[0] * (1 + self.choice([0, 1, -1]) * 2.0 ** -self.integer(25, 52))
        if kind == 4:
            found[:, self.integer(0, columns - 1)] = -found[:, 0] * (
                1 + self.choice([0, 1]) * 2.0 ** -self.integer(25, 52)
            )
        return found


@dataclass(eq=False)
class Builder:
    """Steps so far; `decades` tells how large each value's derivative is, about."""

    draw: Draw
    sizes: list[int]
    decades: list[float]
    steps: list[Step]
    bounded: bool
    course: str = "free"
    """Whether derivatives first shrink by hundreds of decades and then grow again, the other way, or neither."""

    @property
    def last(self) -> int:
        return len(self.sizes) - 1

    def add(self, name: str, reads: Sequence[int], rounded: Any, exactly: Any, size: int, decade: float) -> None:
        self.steps.append(Step(name, tuple(reads), rounded, exactly))
        self.sizes.append(size)
        self.decades.append(max(-1e4, min(1e4, decade)))

    def next_decade(self) -> float:
        """What brings the derivative back to one, or an extreme number."""
        back, turned = -self.decades[-1], len(self.steps) > 3
        if self.course != "free" and not turned:
            return self.draw.random.uniform(100, 250) * (1 if self.course == "hill" else -1)
        return back if turned or self.draw.chance(0.55) else self.draw.decade()

    def linear(self, size: int | None = None, decade: float | None = None) -> None:
        rows, columns = size or self.draw.integer(1, 4), self.sizes[-1]
        decade = self.next_decade() if decade is None else decade
        weight = self.draw.weight(rows, columns, decade)
        bias = self._bias(rows)
        self.add(f"linear {rows}", (self.last,), lambda x: F.linear(x[None], weight, bias)[0],
                 _affine(weight, bias), rows, self.decades[-1] + decade)  # fmt: skip

    def _bias(self, rows: int) -> Tensor | None:
        """None, extreme numbers, or numbers about as large as those that they shift."""
        if self.draw.chance(0.4):
            return None
        return self.draw.numbers(rows, self.draw.choice([0.0, self.decades[-1], self.draw.decade()]))

    def convolution(self) -> None:
        length, taps, channels = self.sizes[-1], self.draw.integer(1, min(3, self.sizes[-1])), self.draw.integer(1, 2)
        padding, decade = self.draw.integer(0, 1), self.next_decade()
        weight = self.draw.weight(channels, taps, decade).reshape(channels, 1, taps)

        def rounded(x: Tensor) -> Tensor:
            return F.conv1d(x.reshape(1, 1, -1), weight, padding=padding).reshape(-1)

        matrix = torch.stack([rounded(unit) for unit in torch.eye(length, dtype=torch.float64)], 1)
        self.add("conv", (self.last,), rounded, _affine(matrix, None), len(matrix), self.decades[-1] + decade)

    def factor(self) -> None:
        """A constant factor, or a divisor."""
        decade = self.next_decade()
        weight = self.draw.numbers(self.draw.choice([1, self.sizes[-1]]), decade)
        number = exact(weight)
        if self.draw.chance(0.3) and bool((weight.abs() > 1e-300).all()):
            decade = -decade
            self.add("divide", (self.last,), lambda x: x / weight, lambda x: x / number, self.sizes[-1],
                     self.decades[-1] + decade)  # fmt: skip
        else:
            self.add("multiply", (self.last,), lambda x: x * weight, lambda x: x * number, self.sizes[-1],
                     self.decades[-1] + decade)  # fmt: skip

    def shift(self) -> None:
        bias = self.draw.numbers(self.sizes[-1], self.draw.choice([0.0, self.decades[-1], self.draw.decade()]))
        number = exact(bias)
        self.add("shift", (self.last,), lambda x: x + bias, lambda x: x + number, self.sizes[-1], self.decades[-1])

    def batch_norm(self) -> None:
        n, gain = self.sizes[-1], self.draw.decade()
        mean, variance = self.draw.numbers(n, 0.0), self.draw.numbers(n, self.draw.choice([0.0, gain])).abs()
        gamma, beta, eps = self.draw.numbers(n, gain), self.draw.numbers(n, 0.0), self.draw.choice([1e-5, 1e-12])

        def exactly(x: Exact) -> Exact:
            root = np.array([mp.sqrt(v + mp.mpf(eps)) for v in exact(variance)], dtype=object)
            return (x - exact(mean)) / root * exact(gamma) + exact(beta)

        def rounded(x: Tensor) -> Tensor:
            return F.batch_norm(x.reshape(1, -1), mean, variance, gamma, beta, eps=eps).reshape(-1)

        self.add("batch norm", (self.last,), rounded, exactly, n, self.decades[-1] + gain)

    def activation(self, table: dict[str, Activation]) -> None:
        name = self.draw.choice(sorted(table))
        rounded, exactly = table[name]
        self.add(name, (self.last,), rounded, entrywise(exactly), self.sizes[-1], self.decades[-1])

    def merge(self) -> None:
        """A sum, difference, maximum or product with an earlier value of the same size, or a concatenation."""
        same = [i for i, size in enumerate(self.sizes) if size == self.sizes[-1]]
        other, one = self.draw.choice(same), self.last
        kinds = ["add", "subtract", "maximum", "concat", *(["product", "product"] if self.bounded else [])]
        kind = self.draw.choice(kinds)
        decade = max(self.decades[-1], self.decades[other])
        if kind == "concat":
            joined = self.draw.integer(0, self.last)
            if self.sizes[joined] + self.sizes[-1] <= 6:
                self.add("concat", (joined, one), lambda a, b: torch.cat([a, b]), lambda a, b: np.concatenate([a, b]),
                         self.sizes[joined] + self.sizes[-1], max(self.decades[-1], self.decades[joined]))  # fmt: skip
            return
        table: dict[str, tuple[Any, Any]] = {
            "add": (lambda a, b: a + b, lambda a, b: a + b),
            "subtract": (lambda a, b: a - b, lambda a, b: a - b),
            "maximum": (torch.maximum, lambda a, b: np.array([max(p) for p in zip(a, b, strict=True)], dtype=object)),
            "product": (lambda a, b: a * b, lambda a, b: a * b),
        }
        if kind == "product":
            decade = self.decades[-1] + self.decades[other]
        self.add(kind, (other, one), *table[kind], self.sizes[-1], decade)

    def pool(self) -> None:
        n = self.sizes[-1]
        if n < 2:
            return
        if self.draw.chance(0.5):
            self.add("max pool", (self.last,), lambda x: F.max_pool1d(x.reshape(1, 1, -1), 2, 1).reshape(-1),
                     lambda x: np.array([max(p) for p in itertools.pairwise(x)], dtype=object), n - 1,
                     self.decades[-1])  # fmt: skip
        else:
            self.add("mean", (self.last,), lambda x: x.mean(0, keepdim=True),
                     lambda x: np.array([sum(x) / len(x)], dtype=object), 1, self.decades[-1])  # fmt: skip

    def normalise(self) -> None:
        n = self.sizes[-1]
        kind = self.draw.choice(["layer norm", "softmax"])
        if kind == "softmax":
            self.add(kind, (self.last,), lambda x: torch.softmax(x, 0), _softmax, n, self.decades[-1])
            return
        eps = self.draw.choice([1e-5, 1e-12, 1.0])
        self.add(kind, (self.last,), lambda x: F.layer_norm(x, (n,), eps=eps), _layer_norm(eps), n, self.decades[-1])


def _affine(weight: Tensor, bias: Tensor | None) -> Callable[[Exact], Exact]:
    matrix, offset = exact(weight), None if bias is None else exact(bias)
    return lambda x: matrix @ x if offset is None else matrix @ x + offset


def _softmax(x: Exact) -> Exact:
    powers = np.array([_exp(entry - max(x)) for entry in x], dtype=object)
    return powers / sum(powers)


def _layer_norm(eps: float) -> Callable[[Exact], Exact]:
    def normalised(x: Exact) -> Exact:
        centred = x - sum(x) / len(x)
        return centred / mp.sqrt(sum(centred * centred) / len(x) + mp.mpf(eps))

    return normalised


FAMILIES: dict[str, dict[str, Activation]] = {
    "piecewise": PIECEWISE,
    "smooth": SMOOTH | PIECEWISE,
    "steep": STEEP | PIECEWISE,
}


def extreme_graph(seed: int, family: str, bounded: bool) -> Graph:
    """Two to five rounds of affine maps, a nonlinear step, and sometimes a merge, a pooling or a normalisation."""
    draw = Draw(random.Random(seed))
    size = draw.integer(1, 4)
    course = draw.choice(["free", "free", "free", "valley", "hill"])
    builder = Builder(draw, [size], [0.0], [], bounded, course)
    for _ in range(draw.integer(1, 3)):
        for _ in range(draw.choice([1, 1, 2, 3])):
            step = draw.choice(
                [builder.linear] * 6 + [builder.convolution, builder.factor, builder.factor, builder.shift]
            )
            step()
        if draw.chance(0.1):
            builder.batch_norm()
        table = FAMILIES[family] if bounded or family != "steep" else PIECEWISE
        builder.activation(table if draw.chance(0.8) else PIECEWISE)
        if draw.chance(0.3):
            builder.merge()
        if draw.chance(0.12):
            builder.pool()
        if family != "piecewise" and draw.chance(0.12):
            builder.normalise()
    if draw.chance(0.85):
        builder.linear(draw.integer(1, 3), -builder.decades[-1] if draw.chance(0.7) else None)
    return Graph(size, tuple(builder.steps))
