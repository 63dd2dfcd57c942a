"""Matrix products and convolutions; weights may be constants or computed by other nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .table import OnnxCall, op
from .windows import Window, torch_pads

CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED: dict[int, Callable[..., Tensor]] = {
    1: F.conv_transpose1d,
    2: F.conv_transpose2d,
    3: F.conv_transpose3d,
}


@op("MatMul")
def matrix_product(call: OnnxCall) -> Tensor:
    return torch.matmul(call.tensor(0), call.tensor(1))


@op("Gemm")
def general_matrix_product(call: OnnxCall) -> Tensor:
    """alpha A' B' + beta C."""
    return product_and_sum(call)


def product_and_sum(call: OnnxCall) -> Tensor:
    """The same; scalars are kept as operations of their own: weights are not touched."""
    a = call.tensor(0).t() if call.attr("transA", 0) else call.tensor(0)
    b = call.tensor(1).t() if call.attr("transB", 0) else call.tensor(1)
    alpha, beta = call.attr("alpha", 1.0), call.attr("beta", 1.0)
    c = call.optional(2)
    if c is not None and alpha == beta == 1.0:
        return torch.addmm(c, a, b)
    product = _scaled(torch.mm(a, b), alpha)
    return product if c is None else product + _scaled(c, beta)


def _scaled(x: Tensor, factor: float) -> Tensor:
    return x if factor == 1.0 else x * factor


@op("Einsum")
def einsum(call: OnnxCall) -> Tensor:
    return torch.einsum(call.attr("equation"), *call.tensors())


@op("Conv")
def convolution(call: OnnxCall) -> Tensor:
    return convolve(call)


def convolve(call: OnnxCall) -> Tensor:
    """The same; padding that differs between the two ends becomes a node of its own."""
    x, weight = call.tensor(0), call.tensor(1)
    rank = _spatial_rank(call, weight)
    window = Window.of(call, weight.shape[2:], x.shape[2:])
    padding: Sequence[int] = window.begin
    if window.begin != window.end:
        x, padding = F.pad(x, torch_pads(window.begin, window.end)), [0] * rank
    return CONVOLUTIONS[rank](
        x, weight, call.optional(2), window.strides, padding, window.dilations, call.attr("group", 1)
    )


@op("ConvTranspose")
def transposed_convolution(call: OnnxCall) -> Tensor:
    """The adjoint of a convolution: computed without padding, then cropped where the two ends differ."""
    x, weight = call.tensor(0), call.tensor(1)
    rank = _spatial_rank(call, weight)
    window = Window.transposed(call, weight.shape[2:], x.shape[2:])
    extra = list(call.attr("output_padding", [0] * rank))
    group = call.attr("group", 1)
    symmetric = window.begin == window.end
    padding = window.begin if symmetric else [0] * rank
    y = TRANSPOSED[rank](x, weight, call.optional(2), window.strides, padding, extra, group, window.dilations)
    if symmetric:
        return y
    for axis, (begin, end) in enumerate(zip(window.begin, window.end, strict=True), start=2):
        y = y.narrow(axis, begin, y.shape[axis] - begin - end)
    return y


def _spatial_rank(call: OnnxCall, weight: Tensor) -> int:
    rank = weight.ndim - 2
    if rank not in CONVOLUTIONS:
        raise call.refuse(f"{rank} spatial dimensions")
    return rank
