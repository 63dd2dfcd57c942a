"""Roots of sums of squares written as several operations: magnitudes of spectra, distances, deviations.

    sqrt(c + w sum_j x_j^2),  w > 0, c >= 0

over groups of entries; what several groups share, as windows do, is copied before. The square and the root have no
constant on the whole space; their composition is the 2-norm of (sqrt(w) x, sqrt(c)) and has one: its gradient
w x / sqrt(c + w |x|^2) has 2-norm at most sqrt(w), so entries of at most sqrt(w), and a 1-norm of at most sqrt(w k) for
k entries. On a box, with |x| <= r, the 2-norm is at most w r / sqrt(c + w r^2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, fx

from ..operators.rounding import up_sqrt
from .builder import Builder
from .call import origin_of
from .ends import MARGIN, Ends, magnitude, widened
from .nodes import Constants, Function
from .patterns import Values, literal, operator_of, power_of, squared
from .rules.norms import VANISHED, by_size, length
from .rules.product import entries
from .values import Linear

LEAST = Fraction(1, 2**500)
"""Of a weight that is served, and of its inverse: roots of others come near the ends of float64."""


@dataclass(frozen=True, eq=False)
class Magnitude:
    """x -> sqrt(floor + weight |x|^2) over groups of entries; `index` is `(*shape, k)`, flat positions, each once."""

    index: Tensor
    weight: Fraction
    floor: float

    @property
    def root(self) -> float:
        """sqrt(weight), rounded up."""
        return up_sqrt(math.nextafter(float(self.weight), math.inf))

    def __call__(self, x: Tensor) -> Tensor:
        """`(B, *in_shape)` -> `(B, *shape)`."""
        return self._value(length(x.flatten(1)[:, self.index], [-1]))

    def _value(self, lengths: Tensor) -> Tensor:
        scaled = math.sqrt(self.weight) * lengths
        return torch.hypot(scaled, torch.full_like(scaled, math.sqrt(self.floor)))

    def constants(self) -> Constants:
        """On the whole space."""
        k = self.index.shape[-1]
        return {"1": self.root, "2": self.root, "inf": self.root * up_sqrt(k) * (1.0 + MARGIN)}

    def local(self, lower: Tensor, upper: Tensor) -> Constants:
        """On `lower <= x <= upper`: of groups that are short beside the floor."""
        reach = self.root * float(length(magnitude((lower, upper))[self.index], [-1]).max()) * (1.0 + MARGIN) + VANISHED
        share = 1.0 if self.floor == 0.0 else reach / math.hypot(reach, math.sqrt(self.floor)) * (1.0 + MARGIN)
        return {p: constant * min(share, 1.0) for p, constant in self.constants().items()}

    def range(self, _function: Function, lower: Tensor, upper: Tensor) -> Ends:
        """Of the length first, and then of the root."""
        low, high = by_size(lambda x: length(x[:, self.index], [-1]).reshape(len(x), -1), lower, upper)
        low, high = (self._value(end) for end in (low, high))
        low = torch.nan_to_num(low, posinf=torch.finfo(low.dtype).max)
        return widened(low * (1.0 - MARGIN), high * (1.0 + MARGIN), VANISHED)


@dataclass(frozen=True)
class Squares:
    """floor + weight sum_j x_j^2 for every entry of a tensor; of each value which entries, `(*shape, k)`."""

    terms: Sequence[tuple[Linear, Tensor]]
    weight: Fraction = Fraction(1)
    floor: float = 0.0


def root_of_squares(builder: Builder, node: fx.Node, values: Values) -> Linear | None:
    """The value of a node that is the root of such a sum of two or more."""
    if operator_of(node) != "sqrt" and power_of(node) != 0.5:
        return None
    squares = _squares(node.args[0], values)
    if squares is None or sum(index.shape[-1] for _, index in squares.terms) < 2:
        return None
    if not LEAST <= squares.weight <= 1 / LEAST:
        return None
    parts, before = [], 0
    for value, index in squares.terms:
        parts.append(index + before)
        before += value.operator.out_size
    groups = torch.cat(parts, -1)
    values_of_terms = [value for value, _ in squares.terms]
    value = (
        values_of_terms[0]
        if before == values_of_terms[0].operator.out_size
        else builder.stack(values_of_terms, origin_of(node))
    )
    if groups.unique().numel() < groups.numel():
        value, groups = entries(value, groups), torch.arange(groups.numel()).reshape(groups.shape)
    layer, shape = Magnitude(groups, squares.weight, squares.floor), tuple(groups.shape[:-1])
    return builder.nonlinear(
        value,
        shape,
        layer,
        layer.constants(),
        "normalization",
        origin=origin_of(node),
        enclosure=layer.range,
        local=layer.local,
    )


def _squares(node: Any, values: Values) -> Squares | None:
    """The node as such a sum, None where it is none."""
    if not isinstance(node, fx.Node) or node.kwargs:
        return None
    base = squared(node)
    value = values.get(base) if base is not None else None
    if isinstance(value, Linear) and value.operator.out_size:
        return Squares([(value, torch.arange(value.operator.out_size).reshape(*value.shape, 1))])
    form = FORMS.get(operator_of(node))
    return None if form is None else form(node, values)


def _sum(node: fx.Node, values: Values) -> Squares | None:
    inner = _squares(node.args[0], values)
    if inner is None or inner.floor:
        return None
    shape = inner.terms[0][1].shape[:-1]
    dims = node.args[1] if len(node.args) > 1 else None
    listed = dims if isinstance(dims, list | tuple) and dims and shape else range(len(shape))
    axes = sorted({int(str(dim)) % len(shape) for dim in listed})
    keeps = len(node.args) > 2 and node.args[2] is True
    terms = [(value, _grouped(index, axes, keeps)) for value, index in inner.terms]
    count = math.prod(shape[axis] for axis in axes)
    return replace(inner, terms=terms, weight=inner.weight / (count if operator_of(node) == "mean" else 1))


def _grouped(index: Tensor, axes: Sequence[int], keeps: bool) -> Tensor:
    """The axes joined to the last one."""
    rank = index.ndim - 1
    kept = [axis for axis in range(rank) if axis not in axes]
    shape = [1 if axis in axes else index.shape[axis] for axis in range(rank) if keeps or axis not in axes]
    return index.permute(*kept, *axes, rank).reshape(*shape, -1)


def _added(node: fx.Node, values: Values) -> Squares | None:
    if len(node.args) != 2:
        return None
    for a, b in (node.args, node.args[::-1]):
        first, number = _squares(a, values), literal(b, values)
        if first is not None and number is not None:
            whole = first.floor + number  # exact, or left alone
            exact = Fraction(first.floor) + Fraction(number) == Fraction(whole)
            return replace(first, floor=whole) if exact and 0.0 <= number < math.inf else None
    left, right = (_squares(operand, values) for operand in node.args)
    if left is None or right is None or left.weight != right.weight or left.floor or right.floor:
        return None
    same = left.terms[0][1].shape[:-1] == right.terms[0][1].shape[:-1]
    return replace(left, terms=[*left.terms, *right.terms]) if same else None


def _multiplied(node: fx.Node, values: Values) -> Squares | None:
    """By a positive number, or over one."""
    if len(node.args) != 2:
        return None
    orders = [node.args] if operator_of(node) == "div" else [node.args, node.args[::-1]]
    for a, b in orders:
        inner, number = _squares(a, values), literal(b, values)
        if inner is not None and not inner.floor and number is not None and 0.0 < number < math.inf:
            factor = Fraction(number)
            return replace(inner, weight=inner.weight / factor if operator_of(node) == "div" else inner.weight * factor)
    return None


def _pooled(node: fx.Node, values: Values) -> Squares | None:
    """The mean over windows that lie within the tensor."""
    _, kernel, *options = node.args
    dims = int(operator_of(node).removeprefix("avg_pool").removesuffix("d"))
    inner = _squares(node.args[0], values)
    if inner is None or inner.floor or len(options) > 1:
        return None
    size, stride = (_per_dimension(given, dims) for given in (kernel, options[0] if options else kernel))
    return replace(
        inner,
        terms=[(value, _windows(index, size, stride)) for value, index in inner.terms],
        weight=inner.weight / math.prod(size),
    )


def _per_dimension(given: Any, dims: int) -> list[int]:
    sizes = [given] if isinstance(given, int) else list(given)
    return sizes if len(sizes) == dims else sizes * dims


def _windows(index: Tensor, size: Sequence[int], stride: Sequence[int]) -> Tensor:
    """The groups of each window's entries joined, `(*shape, k)`."""
    rank = index.ndim - 1
    for axis, (taps, step) in enumerate(zip(size, stride, strict=True), start=rank - len(size)):
        index = index.unfold(axis, taps, step)
    return index.flatten(rank)


def _reshaped(node: fx.Node, values: Values) -> Squares | None:
    """An axis of one entry put in or left out."""
    inner, axis = _squares(node.args[0], values), node.args[1] if len(node.args) == 2 else None
    if inner is None or not isinstance(axis, int):
        return None
    terms = []
    for value, index in inner.terms:
        places = axis % (index.ndim if operator_of(node) == "unsqueeze" else index.ndim - 1)
        terms.append((value, index.unsqueeze(places) if operator_of(node) == "unsqueeze" else index.squeeze(places)))
    return replace(inner, terms=terms)


FORMS = {
    "squeeze": _reshaped,
    "unsqueeze": _reshaped,
    "avg_pool2d": _pooled,
    "avg_pool3d": _pooled,
    "sum": _sum,
    "mean": _sum,
    "add": _added,
    "mul": _multiplied,
    "div": _multiplied,
}
