"""The captured graph's operators on long numbers. One without a rule here is `Unable`: it is never guessed."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from app.lipschitz.digits.functions import one_over, reciprocal, square_root
from app.lipschitz.digits.number import (
    Number,
    Unable,
    add,
    aligned,
    between,
    ends,
    exact,
    maximum,
    negative,
    normalised,
    product,
    select,
    sign,
)
from app.lipschitz.digits.table import RULES, Arguments, axes, called, joined, narrowed, number, numbers_of, rule
from app.lipschitz.network.call import Call
from app.lipschitz.network.rules.elementwise import DESCRIBED
from app.lipschitz.network.rules.elementwise import described as described_scalar
from app.lipschitz.network.rules.movement import IDENTITIES, MOVEMENTS
from app.lipschitz.network.values import Constant


@rule(*IDENTITIES, "_to_copy.default", "to.dtype")
def identity(_call: Call, a: Arguments, _places: int) -> Any:
    """The tensor itself, widened where it holds integers; cut to integers only where it is exact."""
    dtype = a.get("dtype")
    if isinstance(a["input"], Number):
        if dtype is None or dtype.is_floating_point:
            return a["input"]
        return _float64(a["input"]).to(dtype)
    plain = a["input"] if dtype is None else a["input"].to(dtype)
    return exact(plain) if plain.is_floating_point() else plain


@rule(*MOVEMENTS)
def move(call: Call, a: Arguments, places: int) -> Any:
    """Digit by digit; what padding puts in is added afterwards."""
    fill = float(a.get("value") or 0.0) if call.name == "aten.constant_pad_nd.default" else 0.0
    leaves = numbers_of(a)
    if call.name in TURNS:
        return _turned(call, a, leaves[0])
    digits, exponent = aligned(leaves)
    planes = [_moved(call, a, leaves, [d[k] for d in digits], fill=0.0) for k in range(len(digits[0]))]
    error = None
    if any(leaf.error is not None for leaf in leaves):
        errors = [torch.zeros(leaf.shape, dtype=torch.float64) if leaf.error is None else leaf.error for leaf in leaves]
        error = _moved(call, a, leaves, errors, fill=0.0)
    if isinstance(planes[0], Tensor):
        moved = Number(torch.stack(planes), exponent, error)
        if not fill:
            return moved
        zeros = [torch.zeros(leaf.shape, dtype=torch.float64) for leaf in leaves]
        return add(moved, exact(_moved(call, a, leaves, zeros, fill=fill)), places)
    parts = [None] * len(planes[0]) if error is None else error
    return tuple(
        Number(torch.stack(plane), exponent, part) for plane, part in zip(zip(*planes, strict=True), parts, strict=True)
    )


TURNS = frozenset({"aten.t.default", "aten.transpose.int", "aten.permute.default"})
"""Movements that are views of all digits at once: weights turn before every product."""


def _turned(call: Call, a: Arguments, x: Number) -> Number:
    def turn(plane: Tensor) -> Any:
        return called(call, a | {"input": plane})

    return Number(torch.vmap(turn)(x.digits), x.exponent, None if x.error is None else turn(x.error))


def _alone(plane: Tensor) -> Tensor:
    """In memory of its own: `as_strided` counts from the start of the memory, which planes otherwise share."""
    return plane.clone(memory_format=torch.contiguous_format)


def _moved(call: Call, a: Arguments, leaves: list[Number], tensors: list[Tensor], fill: float) -> Any:
    of = {leaf: _alone(tensor) for leaf, tensor in zip(leaves, tensors, strict=True)}

    def plain(value: Any) -> Any:
        if isinstance(value, Number):
            return of[value]
        return [plain(one) for one in value] if isinstance(value, list | tuple) else value

    given = {key: plain(value) for key, value in a.items()}
    if call.name == "aten.constant_pad_nd.default":
        given["value"] = fill
    return called(call, given)


def _scaled(x: Number, factor: Any, places: int) -> Number:
    if isinstance(factor, int | float) and float(factor) == 1.0:
        return x
    return product(torch.mul, number(factor), x, 1, places)


@rule("add.Tensor", "add.Scalar", "sub.Tensor", "sub.Scalar")
def sum_of_two(call: Call, a: Arguments, places: int) -> Number:
    """a + alpha b, a - alpha b."""
    other = _scaled(number(a["other"]), a["alpha"], places)
    return add(number(a["input"]), other, places, -1.0 if "sub" in call.name else 1.0)


@rule("rsub.Tensor", "rsub.Scalar")
def reversed_difference(_call: Call, a: Arguments, places: int) -> Number:
    """b - alpha a."""
    return add(number(a["other"]), _scaled(number(a["input"]), a["alpha"], places), places, -1.0)


@rule("neg.default")
def negation(_call: Call, a: Arguments, _places: int) -> Number:
    """-a."""
    return negative(number(a["input"]))


@rule("mul.Tensor", "mul.Scalar")
def entrywise_product(_call: Call, a: Arguments, places: int) -> Number:
    """a b."""
    return product(torch.mul, number(a["input"]), number(a["other"]), 1, places)


@rule("square.default")
def square(_call: Call, a: Arguments, places: int) -> Number:
    """a a."""
    return product(torch.mul, number(a["input"]), number(a["input"]), 1, places)


@rule("pow.Tensor_Scalar")
def power(_call: Call, a: Arguments, places: int) -> Number:
    """Whole powers, and roots."""
    x, exponent = number(a["input"]), float(a["exponent"])
    if exponent in (0.5, -0.5):
        root = square_root(x, places)
        return root if exponent > 0 else reciprocal(root, places)
    if exponent not in (1.0, 2.0, 3.0, 4.0):
        raise Unable(f"a power with exponent {exponent:g}")
    found = x
    for _ in range(int(exponent) - 1):
        found = product(torch.mul, found, x, 1, places)
    return found


@rule("sqrt.default")
def root(_call: Call, a: Arguments, places: int) -> Number:
    """sqrt(a)."""
    return square_root(number(a["input"]), places)


@rule("rsqrt.default")
def inverse_root(_call: Call, a: Arguments, places: int) -> Number:
    """1 / sqrt(a)."""
    return reciprocal(square_root(number(a["input"]), places), places)


@rule("reciprocal.default")
def inverse(_call: Call, a: Arguments, places: int) -> Number:
    """1 / a."""
    return reciprocal(number(a["input"]), places)


@rule("div.Tensor", "div.Scalar")
def quotient(_call: Call, a: Arguments, places: int) -> Number:
    """a / b."""
    return product(torch.mul, number(a["input"]), reciprocal(number(a["other"]), places), 1, places)


@rule("mm.default", "bmm.default", "mv.default")
def matrix_product(call: Call, a: Arguments, places: int) -> Number:
    """A B."""
    left, right = number(a["input"]), number(a.get("mat2", a.get("vec")))
    if "mm.default" in call.name:
        return matrices_product(left, right, places)
    return product(call.target, left, right, left.shape[-1], places)


def matrices_product(left: Number, right: Number, places: int) -> Number:
    """A B for two matrices, or two stacks of them."""
    return product(torch.matmul, left, right, left.shape[-1], places, at_once=len(right.shape) == 2)


@rule("addmm.default", "addmv.default", "baddbmm.default")
def shifted_product(call: Call, a: Arguments, places: int) -> Number:
    """beta C + alpha A B."""
    left = number(a.get("mat1", a.get("mat", a.get("batch1"))))
    right = number(a.get("mat2", a.get("vec", a.get("batch2"))))
    if "addmv" in call.name:
        found = product(torch.mv, left, right, left.shape[-1], places)
    else:
        found = matrices_product(left, right, places)
    found = _scaled(found, a["alpha"], places)
    return add(found, _scaled(number(a["input"]), a["beta"], places), places)


@rule("convolution.default", "_convolution.default", "_convolution.deprecated")
def convolution(_call: Call, a: Arguments, places: int) -> Number:
    """Also transposed ones."""
    x, weight = number(a["input"]), number(a["weight"])
    keys = ("stride", "padding", "dilation", "transposed", "output_padding", "groups")
    settings = [a[key] for key in keys]

    def convolved(kernel: Tensor, image: Tensor) -> Tensor:
        return torch.as_tensor(torch.ops.aten.convolution.default(image, kernel, None, *settings))

    terms = math.prod(weight.shape[2:]) * (weight.shape[0] if a["transposed"] else weight.shape[1])
    found = product(convolved, weight, x, terms, places)
    if a.get("bias") is None:
        return found
    bias = number(a["bias"])
    dims = len(weight.shape) - 2
    return add(found, bias.moved(lambda b: b.reshape(-1, *[1] * dims)), places)


@rule("_native_batch_norm_legit_no_training.default", "native_batch_norm.default", "cudnn_batch_norm.default")
def batch_norm(_call: Call, a: Arguments, places: int) -> tuple[Any, ...]:
    """(x - mean) weight / sqrt(var + eps) + bias."""
    x = number(a["input"])
    if a.get("training"):
        raise Unable("a batch norm in training")

    def column(value: Any) -> Number:
        return number(value).moved(lambda v: v.reshape(-1, *[1] * (len(x.shape) - 2)))

    epsilon = a.get("eps", a.get("epsilon"))
    root_of = square_root(add(column(a["running_var"]), number(epsilon), places), places)
    scale = reciprocal(root_of, places)
    if a.get("weight") is not None:
        scale = product(torch.mul, scale, column(a["weight"]), 1, places)
    found = product(torch.mul, scale, add(x, column(a["running_mean"]), places, -1.0), 1, places)
    return (found if a.get("bias") is None else add(found, column(a["bias"]), places), None, None, None)


@rule("sum.default", "sum.dim_IntList", "mean.default", "mean.dim")
def total(call: Call, a: Arguments, places: int) -> Number:
    """Sums and means over dimensions."""
    x = number(a["input"])
    dims = axes(a.get("dim"), len(x.shape))
    count = math.prod(x.shape[d] for d in dims)

    def summed(_one: Tensor, values: Tensor) -> Tensor:
        return values.sum(dims, bool(a.get("keepdim", False))) if dims else values

    found = product(summed, number(1.0), x, max(count, 1), places)
    if "sum" in call.name:
        return found
    return product(torch.mul, one_over(float(count), places), found, 1, places)


@rule("avg_pool2d.default", "avg_pool3d.default")
def average_pool(call: Call, a: Arguments, places: int) -> Number:
    """The sum over a window, over how many entries the operator counts."""
    x = number(a["input"])
    sums = a | {"divisor_override": 1}

    def summed(_one: Tensor, values: Tensor) -> Tensor:
        return torch.as_tensor(called(call, sums | {"input": values}))

    ones = torch.ones(x.shape, dtype=torch.float64)
    counts = torch.round(summed(ones, ones) / torch.as_tensor(called(call, a | {"input": ones})))
    found = product(summed, number(1.0), x, math.prod(a["kernel_size"]) ** 3, places)
    return product(torch.mul, reciprocal(exact(counts), places), found, 1, places)


@rule("_adaptive_avg_pool2d.default", "_adaptive_avg_pool3d.default")
def global_average(call: Call, a: Arguments, places: int) -> Number:
    """Where the output is one point."""
    if any(side != 1 for side in a["output_size"]):
        raise Unable("an adaptive average pooling to more than one point")
    dims = [-1 - d for d in range(len(a["output_size"]))]
    mean = Call(torch.ops.aten.mean.dim, {}, call.origin)
    found: Number = total(mean, {"input": a["input"], "dim": dims, "keepdim": True}, places)
    return found


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
    """Of two tensors."""
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
    found = negative(x) if is_min else x
    for d in dims:
        found = reduced(found, d, places)
    if not a["keepdim"]:
        kept = [n for d, n in enumerate(x.shape) if d not in dims]
        found = found.moved(lambda v: v.reshape(kept))
    found = negative(found) if is_min else found
    return (found, None) if call.name.endswith(".dim") else found


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
    found = reduced(windows, 1, places).moved(lambda v: v.reshape(shape))
    return (found, None) if "with_indices" in call.name else found


def _pair(value: Any, default: int) -> tuple[int, int]:
    given = list(value) if isinstance(value, list | tuple) else [value]
    given = given or [default]
    return int(given[0]), int(given[-1])


def described(call: Call, a: Arguments, _places: int) -> Number:
    """An elementwise function by its enclosure at float64 bounds of its argument."""
    x = number(a["input"])
    constants = {k: Constant(_float64(v)) if isinstance(v, Number) else v for k, v in a.items() if k != "input"}
    scalar = described_scalar(Call(call.target, {"input": None, **constants}, call.origin), [tuple(x.shape)])
    lower, upper = (end.reshape(-1) for end in ends(x))
    low, high = scalar.range(lower, upper)
    return between(low.reshape(x.shape), high.reshape(x.shape))


def _float64(x: Number) -> Tensor:
    """The tensor, where it is one of float64 numbers."""
    low, high = ends(x)
    middle = low / 2 + high / 2
    if x.error is not None or bool((sign(add(x, exact(middle), 10**9, -1.0)) != 0).any()):
        raise Unable("a parameter that is no float64 number")
    return middle


def evaluate(call: Call, a: Arguments, places: int) -> Any:
    """One operator's result; plain tensors of integers stay plain."""
    name = call.name.removeprefix("aten.")
    if not numbers_of(a) and name not in ("_to_copy.default", "to.dtype"):
        return call_plain(call, a)
    if name in RULES:
        return RULES[name](call, a, places)
    if name in DESCRIBED:
        return described(call, a, places)
    raise Unable(f"operator {call.name} at '{call.origin.name}'")


def call_plain(call: Call, a: Arguments) -> Any:
    """An operator on integers, or one that makes numbers out of none."""
    found = called(call, a)
    rounded = [t for t in (found if isinstance(found, list | tuple) else [found]) if isinstance(t, Tensor)]
    if any(isinstance(v, Tensor) for v in a.values()) and any(t.is_floating_point() for t in rounded):
        raise Unable(f"operator {call.name} on integers")
    return exact(found) if isinstance(found, Tensor) and found.is_floating_point() else found
