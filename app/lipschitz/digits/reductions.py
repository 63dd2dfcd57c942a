"""Sums, products and extremes over axes on long numbers, softmax, and choices by a mask."""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from torch import Tensor

from ..network.call import Call
from .extremes import reduced
from .functions import one_over, reciprocal, square_root
from .masks import MASKED
from .matrices import added
from .multiplication import product
from .number import Number, Unable, add, exact, middle, negative, select, sign
from .operators import described
from .table import Arguments, axes, called, narrowed, number, numbers_of, rule

aten = torch.ops.aten


@rule("max.default", "min.default")
def extremum(call: Call, a: Arguments, places: int) -> Number:
    flat = number(a["input"]).moved(lambda v: v.reshape(-1))
    extremum = reduced(negative(flat) if "min" in call.name else flat, 0, places)
    extremum = extremum.moved(lambda v: v.reshape(()))
    return negative(extremum) if "min" in call.name else extremum


@rule("cumsum.default")
def running_total(_call: Call, a: Arguments, places: int) -> Number:
    x, dim = number(a["input"]), a["dim"]

    def summed(_one: Tensor, values: Tensor) -> Tensor:
        return values.cumsum(dim)

    return product(summed, number(1.0), x, x.shape[dim] if x.shape else 1, places)


@rule("prod.default", "prod.dim_int")
def product_over_axis(_call: Call, a: Arguments, places: int) -> Number:
    """One factor after the other."""
    x, dim = number(a["input"]), a.get("dim")
    if not x.shape:
        return x
    x, dim = (x.moved(lambda v: v.reshape(-1)), 0) if dim is None else (x, dim % len(x.shape))
    parts = [narrowed(x, dim, i, 1) for i in range(x.shape[dim])]
    running = functools.reduce(lambda u, v: product(torch.mul, u, v, 1, places), parts)
    return running if a.get("keepdim") else running.moved(lambda v: v.squeeze(dim))


@rule("where.self", "where.ScalarSelf", "where.ScalarOther", "where.Scalar")
def chosen(_call: Call, a: Arguments, _places: int) -> Number:
    """One of two by a mask."""
    if not isinstance(a["condition"], Tensor):
        raise Unable("a choice by numbers")
    return select(a["condition"] != 0, number(a["input"]), number(a["other"]))


@rule("masked_fill.Scalar", "masked_fill.Tensor")
def filled(_call: Call, a: Arguments, _places: int) -> Number:
    """A number where a mask is true."""
    if not isinstance(a["mask"], Tensor):
        raise Unable("a mask of numbers")
    return select(a["mask"], number(a["value"]), number(a["input"]))


@rule("zeros_like.default", "ones_like.default", "full_like.default", "new_zeros.default", "new_ones.default",
      "new_full.default")  # fmt: skip
def constant_like(call: Call, a: Arguments, _places: int) -> Any:
    """Only the shape of the operand matters."""
    filled = called(call, a | {"input": torch.zeros(number(a["input"]).shape, dtype=torch.float64)})
    return exact(filled) if filled.is_floating_point() else filled


@rule("_softmax.default", "_safe_softmax.default")
def softmax(call: Call, a: Arguments, places: int) -> Number:
    """exp(x - m) over its sum, m near the largest entry; a row that is masked all over is 0, or has no rule."""
    x = number(a["input"])
    empty = middle(x).amax(a["dim"], keepdim=True) <= MASKED / 4
    if bool(empty.any()) and "safe" not in call.name:
        raise Unable("a softmax of nothing but masks")
    exponentials, total, _ = _shifted(call, x, a["dim"], places)
    shares = product(torch.mul, exponentials, reciprocal(total, places), 1, places)
    return select(empty, number(0.0), shares)


@rule("isnan.default")
def is_nan(_call: Call, a: Arguments, _places: int) -> Tensor:
    return torch.zeros(number(a["input"]).shape, dtype=torch.bool)


@rule("eq.Scalar", "ne.Scalar")
def equality(call: Call, a: Arguments, _places: int) -> Tensor:
    """With what stands for -inf."""
    if a["other"] != MASKED:
        raise Unable("a comparison of numbers")
    is_masked = middle(number(a["input"])) <= MASKED / 4
    return is_masked if "eq" in call.name else ~is_masked


@rule("_log_softmax.default")
def log_softmax(call: Call, a: Arguments, places: int) -> Number:
    """x - m - log sum exp(x - m)."""
    x = number(a["input"])
    _, total, m = _shifted(call, x, a["dim"], places)
    return add(x, add(m, _function(aten.log.default, call, total, places), places), places, -1.0)


@rule("logsumexp.default")
def log_sum_exp(call: Call, a: Arguments, places: int) -> Number:
    """m + log sum exp(x - m)."""
    x = number(a["input"])
    _, total, m = _shifted(call, x, a["dim"], places)
    logarithm = add(m, _function(aten.log.default, call, total, places), places)
    shape = called(call, a | {"input": torch.zeros(x.shape, dtype=torch.float64)}).shape
    return logarithm.moved(lambda v: v.reshape(shape))


def _shifted(call: Call, x: Number, dim: Any, places: int) -> tuple[Number, Number, Number]:
    """exp(x - m), its sum over the axes, and m."""
    dims = axes(dim, len(x.shape))
    m = exact(middle(x).amax(dims, keepdim=True))
    exponentials = _function(aten.exp.default, call, add(x, m, places, -1.0), places)
    return exponentials, added(exponentials, dims, True, places), m


def _function(target: Any, call: Call, x: Number, places: int) -> Number:
    return described(Call(target, {"input": x}, call.origin), {"input": x}, places)


@rule("var.correction", "std.correction", "var_mean.correction", "std_mean.correction")
def spread(call: Call, a: Arguments, places: int) -> Any:
    """Mean square distance from the mean, or its root."""
    x = number(a["input"])
    dims = axes(a["dim"], len(x.shape))
    given = a["correction"]
    count, correction = math.prod(x.shape[d] for d in dims), 1.0 if given is None else float(given)
    mean, square = _moments(x, dims, places)
    variance = product(torch.mul, one_over(count - correction, places), square, 1, places)
    variance = square_root(variance, places) if "std" in call.name else variance
    variance, mean = (v if a["keepdim"] else _without(v, dims) for v in (variance, mean))
    return (variance, mean) if "_mean" in call.name else variance


@rule("native_layer_norm.default")
def layer_norm(_call: Call, a: Arguments, places: int) -> tuple[Any, ...]:
    """(x - mean) / sqrt(var + eps) weight + bias over the trailing axes."""
    x = number(a["input"])
    dims = list(range(len(x.shape) - len(a["normalized_shape"]), len(x.shape)))
    count = math.prod(x.shape[d] for d in dims)
    mean, square = _moments(x, dims, places)
    variance = product(torch.mul, one_over(float(count), places), square, 1, places)
    scale = reciprocal(square_root(add(variance, number(a["eps"]), places), places), places)
    output = product(torch.mul, add(x, mean, places, -1.0), scale, 1, places)
    if a["weight"] is not None:
        output = product(torch.mul, output, number(a["weight"]), 1, places)
    return (output if a["bias"] is None else add(output, number(a["bias"]), places)), None, None


def _moments(x: Number, dims: list[int], places: int) -> tuple[Number, Number]:
    """The mean, and the sum of squared distances from it; axes are kept."""
    count = math.prod(x.shape[d] for d in dims)
    mean = product(torch.mul, one_over(float(count), places), added(x, dims, True, places), 1, places)
    away = add(x, mean, places, -1.0)
    return mean, added(product(torch.mul, away, away, 1, places), dims, True, places)


def _without(x: Number, dims: list[int]) -> Number:
    return x.moved(lambda v: v.squeeze(dims))


@rule("sort.default", "sort.stable", "topk.default")
def in_order(call: Call, a: Arguments, _places: int) -> tuple[Number, None]:
    """By exact values; where they are known up to an error, sorting moves no entry further than the largest one."""
    (x,) = numbers_of(a)
    positions = called(call, a | {"input": middle(x)})[1]
    ordered = x.moved(lambda v: v.gather(a["dim"], positions) if v.ndim else v)
    if not _in_order(call, a, x, ordered):
        raise Unable("entries that are too close to be put in order")
    if x.error is None:
        return ordered, None
    worst = x.error.amax(a["dim"], keepdim=True).expand(ordered.shape) if x.error.ndim else x.error
    return Number(ordered.digits, ordered.exponent, worst), None


def _in_order(call: Call, a: Arguments, x: Number, ordered: Number) -> bool:
    """Whether the digits, cut to float64 for sorting, are really sorted: neighbours differ there, or are equal."""
    if not x.shape or x.shape[a["dim"]] < 2 or "topk" in call.name:
        return "topk" not in call.name
    size = ordered.shape[a["dim"]]
    first, second = narrowed(ordered, a["dim"], 0, size - 1), narrowed(ordered, a["dim"], 1, size - 1)
    gap = sign(add(second, first, 10**9, -1.0))
    return bool(((-gap if a["descending"] else gap) >= 0.0).all())
