"""The affine maps of fixed phases in exact arithmetic: float64 numbers are integers over powers of two.

All stored numbers of the model are multiplied by one power of two, so that Python's integers carry the products.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from torch import Tensor

from .model import Layer, Model

Integers = Any
"""An array of Python integers."""
KEPT = 4096
"""Affine maps kept for other nodes of the search with the same phases so far."""


class ExactModel:
    """Rows of pre-activations as functions of (x, 1), up to a positive factor, in integers."""

    def __init__(self, model: Model) -> None:
        self._model = model
        numbers = [n for layer in model.layers for n in _numbers(layer)]
        self._shift = max((_exponent(tensor) for tensor in numbers), default=0)
        self._layers = [tuple(self._integers(n) for n in _numbers(layer)) for layer in model.layers]
        self._known: OrderedDict[tuple[int, bytes], tuple[Integers, int]] = OrderedDict()

    def _integers(self, tensor: Tensor) -> Integers:
        return scaled(tensor, self._shift)

    def row(self, phases: Sequence[np.ndarray], layer: int, neuron: int, kink: int) -> tuple[Integers, int]:
        """`(a - kink) 2^e` as integers `(n + 1,)` of (x, 1), and e; `phases` fixes all layers before, `(n_k,)` each."""
        rows, exponent = self.preactivations(phases, layer)
        row = rows[neuron].copy()
        row[-1] -= self._layers[layer][2][neuron, kink] << (exponent - self._shift)
        return row, exponent

    def preactivations(self, phases: Sequence[np.ndarray], layer: int) -> tuple[Integers, int]:
        """Pre-activations of a layer times 2^e, integers `(n_k, n + 1)`, and e."""
        key = (layer, b"".join(phase.tobytes() for phase in phases[:layer]))
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        weight, bias = self._layers[layer][:2]
        values = [(np.eye(self._model.size, self._model.size + 1, dtype=object), 0)]
        values += [self._post(phases, earlier) for earlier in range(layer)]
        deepest = max(exponent for _, exponent in values)
        stacked = np.concatenate([_lifted(array, deepest - exponent) for array, exponent in values])
        rows = weight @ stacked
        rows[:, -1] += _lifted(bias, deepest)
        self._known[key] = (rows, deepest + self._shift)
        if len(self._known) > KEPT:
            self._known.popitem(last=False)
        return self._known[key]

    def _post(self, phases: Sequence[np.ndarray], layer: int) -> tuple[Integers, int]:
        rows, exponent = self.preactivations(phases, layer)
        slopes, intercepts = (array[np.arange(len(rows)), phases[layer]] for array in self._layers[layer][3:5])
        values = rows * slopes[:, None]
        values[:, -1] += _lifted(intercepts, exponent)
        return values, exponent + self._shift


def scaled(tensor: Tensor, shift: int) -> Integers:
    """The entries times 2^shift as Python integers."""
    entries = [_over(number, shift) for number in tensor.flatten().tolist()]
    result = np.empty(len(entries), dtype=object)
    result[:] = entries
    return result.reshape(tuple(tensor.shape))


def whole(tensor: Tensor) -> Integers:
    """The entries times the least power of two that makes them integers."""
    return scaled(tensor, _exponent(tensor))


def _over(number: float, shift: int) -> int:
    numerator, denominator = number.as_integer_ratio()
    return (numerator << shift) // denominator


def _lifted(array: Integers, shift: int) -> Integers:
    return array * (1 << shift)


def _numbers(layer: Layer) -> tuple[Tensor, ...]:
    return layer.weight, layer.bias, layer.pieces.kinks, layer.pieces.slopes, layer.pieces.intercepts


def _exponent(tensor: Tensor) -> int:
    """The least e for which all entries times 2^e are integers."""
    return max((number.as_integer_ratio()[1].bit_length() - 1 for number in tensor.flatten().tolist()), default=0)


def conflict(rows: Integers, slack: Sequence[Fraction]) -> bool:
    """Whether `rows (x, 1) + slack > 0` for all rows at once is proved impossible, for `(k, n + 1)` integers.

    By the theorem of Motzkin it is when lambda >= 0, lambda != 0 has lambda^T G = 0 for the linear parts G and
    lambda^T (constants + slack) < 0; with no slack and a nonzero row of G in use, <= 0 is enough.
    """
    combination = null_vector(rows[:, :-1])
    if combination is None:
        return False
    if all(c <= 0 for c in combination):
        combination = [-c for c in combination]
    if any(c < 0 for c in combination):
        return False
    constants = [int(row) + extra for row, extra in zip(rows[:, -1], slack, strict=True)]
    total = sum(c * constant for c, constant in zip(combination, constants, strict=True))
    strict = any(c and any(row) for c, row in zip(combination, rows[:, :-1].tolist(), strict=True))
    return total < 0 or (total == 0 and strict and not any(slack))


def null_vector(matrix: Integers) -> list[int] | None:
    """The integers c, up to a factor, with c^T M = 0 for M of `(k, n)`; None unless they form a line.

    Fraction-free elimination on [M | I] (Bareiss): the last row that is left over is the combination.
    """
    k, n = matrix.shape
    work = [[int(entry) for entry in row] + [int(i == j) for j in range(k)] for i, row in enumerate(matrix)]
    rank, previous = 0, 1
    for column in range(n):
        pivot = next((i for i in range(rank, k) if work[i][column]), None)
        if pivot is None:
            continue
        work[rank], work[pivot] = work[pivot], work[rank]
        top = work[rank]
        for i in range(rank + 1, k):
            lead = work[i][column]
            work[i] = [(top[column] * a - lead * b) // previous for a, b in zip(work[i], top, strict=True)]
        rank, previous = rank + 1, top[column]
        if rank == k:
            return None
    return work[-1][n:] if rank == k - 1 else None
