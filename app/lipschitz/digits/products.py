"""Matrix products, convolutions, sums and averages."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..network.call import Call
from .functions import one_over, reciprocal, square_root
from .multiplication import product
from .number import Number, Unable, add, exact
from .operators import scaled
from .table import Arguments, axes, called, number, rule


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
        shifted = product(torch.mv, left, right, left.shape[-1], places)
    else:
        shifted = matrices_product(left, right, places)
    shifted = scaled(shifted, a["alpha"], places)
    return add(shifted, scaled(number(a["input"]), a["beta"], places), places)


@rule("convolution.default", "_convolution.default", "_convolution.deprecated")
def convolution(_call: Call, a: Arguments, places: int) -> Number:
    """Also transposed ones."""
    x, weight = number(a["input"]), number(a["weight"])
    keys = ("stride", "padding", "dilation", "transposed", "output_padding", "groups")
    settings = [a[key] for key in keys]

    def convolved(kernel: Tensor, image: Tensor) -> Tensor:
        return torch.as_tensor(torch.ops.aten.convolution.default(image, kernel, None, *settings))

    terms = math.prod(weight.shape[2:]) * (weight.shape[0] if a["transposed"] else weight.shape[1])
    output = product(convolved, weight, x, terms, places)
    if a.get("bias") is None:
        return output
    bias = number(a["bias"])
    dims = len(weight.shape) - 2
    return add(output, bias.moved(lambda b: b.reshape(-1, *[1] * dims)), places)


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
    output = product(torch.mul, scale, add(x, column(a["running_mean"]), places, -1.0), 1, places)
    return (output if a.get("bias") is None else add(output, column(a["bias"]), places), None, None, None)


@rule("sum.default", "sum.dim_IntList", "mean.default", "mean.dim")
def total(call: Call, a: Arguments, places: int) -> Number:
    """Sums and means over dimensions."""
    x = number(a["input"])
    dims = axes(a.get("dim"), len(x.shape))
    count = math.prod(x.shape[d] for d in dims)

    def summed(_one: Tensor, values: Tensor) -> Tensor:
        return values.sum(dims, bool(a.get("keepdim", False))) if dims else values

    sums = product(summed, number(1.0), x, max(count, 1), places)
    if "sum" in call.name:
        return sums
    return product(torch.mul, one_over(float(count), places), sums, 1, places)


@rule("avg_pool2d.default", "avg_pool3d.default")
def average_pool(call: Call, a: Arguments, places: int) -> Number:
    """The sum over a window, over how many entries the operator counts."""
    x = number(a["input"])
    sums = a | {"divisor_override": 1}

    def summed(_one: Tensor, values: Tensor) -> Tensor:
        return torch.as_tensor(called(call, sums | {"input": values}))

    ones = torch.ones(x.shape, dtype=torch.float64)
    counts = torch.round(summed(ones, ones) / torch.as_tensor(called(call, a | {"input": ones})))
    totals = product(summed, number(1.0), x, math.prod(a["kernel_size"]) ** 3, places)
    return product(torch.mul, reciprocal(exact(counts), places), totals, 1, places)


@rule("_adaptive_avg_pool2d.default", "_adaptive_avg_pool3d.default")
def global_average(call: Call, a: Arguments, places: int) -> Number:
    """Where the output is one point."""
    if any(side != 1 for side in a["output_size"]):
        raise Unable("an adaptive average pooling to more than one point")
    dims = [-1 - d for d in range(len(a["output_size"]))]
    mean = Call(torch.ops.aten.mean.dim, {}, call.origin)
    average: Number = total(mean, {"input": a["input"], "dim": dims, "keepdim": True}, places)
    return average
