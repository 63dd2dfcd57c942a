"""Operators that choose: rectifiers, clamps, magnitudes, extremes of two numbers, over axes and over windows."""

from __future__ import annotations

import math
from typing import Any

import torch

from ..network.call import Call
from .multiplication import product
from .number import Number, Unable, add, ends, maximum, negative, normalised, select, sign
from .table import Arguments, axes, called, joined, narrowed, number, rule


@rule("relu.default")
def relu(_call: Call, a: Arguments, places: int) -> Number:
    """max(x, 0), which has no error where x is certainly negative."""
    return _above(number(a["input"]), number(0.0), places)


def _above(x: Number, floor: Number, places: int) -> Number:
    """max(x, floor), without the error of an x certainly below; digits are dropped last, so that their loss counts."""
    if x.error is None or floor.error is not None:
        return maximum(x, floor, places)
    below = ends(add(x, floor, places, -1.0))[1] < 0.0
    chosen = select(sign(add(x, floor, 10**9, -1.0)) >= 0, x, floor)
    return normalised(chosen.digits, chosen.exponent, torch.where(below, 0.0, x.error).expand(chosen.shape), places)


def _below(x: Number, ceiling: Number, places: int) -> Number:
    return negative(_above(negative(x), negative(ceiling), places))


@rule("clamp.default", "clamp.Tensor", "clamp_min.default", "clamp_min.Tensor", "clamp_max.default",
      "clamp_max.Tensor", "hardtanh.default", "relu6.default")  # fmt: skip
def clamp(call: Call, a: Arguments, places: int) -> Number:
    """min(max(x, low), high)."""
    low, high = a.get("min", a.get("min_val")), a.get("max", a.get("max_val"))
    low, high = (0.0, 6.0) if "relu6" in call.name else (low, high)
    x = number(a["input"])
    x = x if low is None else _above(x, number(low), places)
    return x if high is None else _below(x, number(high), places)


@rule("abs.default")
def magnitude_of(_call: Call, a: Arguments, _places: int) -> Number:
    """|x|."""
    x = number(a["input"])
    return Number(x.digits * torch.where(sign(x) < 0, -1.0, 1.0), x.exponent, x.error)


@rule("leaky_relu.default", "prelu.default", "_prelu_kernel.default")
def two_slopes(call: Call, a: Arguments, places: int) -> Number:
    """x above zero, a multiple of it below."""
    x = number(a["input"])
    below = a.get("negative_slope", a.get("weight"))
    slope = number(below)
    if call.name == "aten.prelu.default" and math.prod(slope.shape) > 1:
        slope = slope.moved(lambda w: w.reshape(-1, *[1] * max(len(x.shape) - 2, 0)))
    low, high = add(x, _above(x, number(0.0), places), places, -1.0), _above(x, number(0.0), places)
    return add(high, product(torch.mul, slope, low, 1, places), places)


@rule("maximum.default", "minimum.default")
def extremum(call: Call, a: Arguments, places: int) -> Number:
    x, y = number(a["input"]), number(a["other"])
    if "minimum" in call.name:
        return negative(maximum(negative(x), negative(y), places))
    return maximum(x, y, places)


@rule("amax.default", "amin.default", "max.dim", "min.dim")
def extremum_along(call: Call, a: Arguments, places: int) -> Any:
    """Over dimensions, one after the other; positions are not told."""
    x = number(a["input"])
    is_min = "min" in call.name
    dims = axes(a["dim"], len(x.shape))
    extremum = negative(x) if is_min else x
    for d in dims:
        extremum = reduced(extremum, d, places)
    if not a["keepdim"]:
        kept = [n for d, n in enumerate(x.shape) if d not in dims]
        extremum = extremum.moved(lambda v: v.reshape(kept))
    extremum = negative(extremum) if is_min else extremum
    return (extremum, None) if call.name.endswith(".dim") else extremum


def reduced(x: Number, dim: int, places: int) -> Number:
    """The maximum along a dimension, which stays with one entry: halves against halves."""
    while x.shape[dim] > 1:
        size = x.shape[dim]
        half = size // 2
        best = maximum(narrowed(x, dim, 0, half), narrowed(x, dim, half, half), places)
        x = joined([best, narrowed(x, dim, size - 1, 1)], dim) if size % 2 else best
    return x


@rule("max_pool2d_with_indices.default", "max_pool2d.default")
def max_pool(call: Call, a: Arguments, places: int) -> Any:
    """The maximum over the entries of every window, told apart by unfolding their positions; 0 is padding."""
    x = number(a["input"])
    kernel, padding, dilation = (_pair(a[key], 1) for key in ("kernel_size", "padding", "dilation"))
    stride = _pair(a["stride"] or kernel, 1)
    if a["ceil_mode"] or len(x.shape) != 4:
        raise Unable("a maximum pooling with ceil_mode")
    positions = torch.arange(1, math.prod(x.shape) + 1, dtype=torch.float64).reshape(x.shape)
    taps = torch.nn.functional.unfold(positions, kernel, dilation, padding, stride)
    taps = taps.reshape(x.shape[0] * x.shape[1], math.prod(kernel), -1).long()
    shape = called(call, a | {"input": positions})
    shape = (shape[0] if isinstance(shape, tuple) else shape).shape
    clear = torch.where(taps == 0, taps.amax(1, keepdim=True), taps) - 1
    windows = x.moved(lambda v: v.reshape(-1)[clear])
    maxima = reduced(windows, 1, places).moved(lambda v: v.reshape(shape))
    return (maxima, None) if "with_indices" in call.name else maxima


def _pair(value: Any, default: int) -> tuple[int, int]:
    given = list(value) if isinstance(value, list | tuple) else [value]
    given = given or [default]
    return int(given[0]), int(given[-1])
