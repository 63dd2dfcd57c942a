"""Operators of the domain `com.microsoft`, which onnxruntime's optimiser and quantisers write into files.

Definitions: onnxruntime, docs/ContribOperators.md. Each is the operators of the standard put together.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import disable_proxy_modes_tracing
from torch.nn import functional as F

from .attention import additive, by_heads
from .linear import convolve, product_and_sum
from .quantization import dequantize, quantize
from .table import OPS, OnnxCall, axis_of, microsoft, op

ACTIVATIONS: dict[str, Callable[..., Tensor]] = {
    "": lambda x: x, "Relu": torch.relu, "Sigmoid": torch.sigmoid, "Tanh": torch.tanh, "LeakyRelu": F.leaky_relu,
    "HardSigmoid": lambda x, alpha, beta: torch.clamp(x * alpha + beta, 0.0, 1.0), "Clip": torch.clamp,
}  # fmt: skip

OPS[microsoft("DequantizeLinear")] = dequantize
OPS[microsoft("QuantizeLinear")] = quantize


@op(microsoft("FusedMatMul"))
def scaled_matrix_product(call: OnnxCall) -> Tensor:
    """alpha A' B', the last two axes of a factor exchanged where its attribute says so."""
    if call.attr("transBatchA", 0) or call.attr("transBatchB", 0):
        raise call.refuse("batches that are exchanged with rows")
    a = call.tensor(0).mT if call.attr("transA", 0) else call.tensor(0)
    b = call.tensor(1).mT if call.attr("transB", 0) else call.tensor(1)
    alpha = call.attr("alpha", 1.0)
    product = a @ b
    return product if alpha == 1.0 else product * alpha


@op(microsoft("FusedConv"))
def activated_convolution(call: OnnxCall) -> Tensor:
    """activation(convolution + Z)."""
    y = convolve(call)
    return _activated(call, y + call.tensor(3) if call.has(3) else y)


@op(microsoft("FusedGemm"))
def activated_product(call: OnnxCall) -> Tensor:
    """activation(alpha A' B' + beta C)."""
    return _activated(call, product_and_sum(call))


def _activated(call: OnnxCall, x: Tensor) -> Tensor:
    name = call.attr("activation", "")
    if name not in ACTIVATIONS:
        raise call.refuse(f"activation {name}")
    named = [call.attributes[key] for key in ("activation_alpha", "activation_beta") if key in call.attributes]
    return ACTIVATIONS[name](x, *call.attr("activation_params", named))


@op(microsoft("Gelu"), microsoft("BiasGelu"))
def gelu(call: OnnxCall) -> Tensor:
    """(x + bias) Phi(x + bias)."""
    return F.gelu(sum(call.tensors()[1:], call.tensor(0)))


@op(microsoft("FastGelu"))
def tanh_gelu(call: OnnxCall) -> Tensor:
    """The same by its tanh approximation."""
    x, bias = call.tensor(0), call.optional(1)
    return F.gelu(x if bias is None else x + bias, approximate="tanh")


@op(microsoft("QuickGelu"))
def quick_gelu(call: OnnxCall) -> Tensor:
    """x sigmoid(alpha x)."""
    x = call.tensor(0)
    return x * torch.sigmoid(call.attr("alpha", 1.702) * x)


@op(microsoft("BiasAdd"))
def bias_add(call: OnnxCall) -> Tensor:
    """x + bias + skip."""
    return call.tensor(0) + call.tensor(1) + call.tensor(2)


@op(microsoft("SkipLayerNormalization"))
def skip_layer_normalization(call: OnnxCall) -> tuple[Tensor, ...]:
    """The layer norm of a sum, its statistics and the sum itself."""
    x = _summed(call, bias=4)
    epsilon = call.attr("epsilon", 1e-12)
    y = F.layer_norm(x, x.shape[-1:], call.tensor(2), call.optional(3), epsilon)
    if len([name for name in call.node.output if name]) == 1:
        return (y,)
    mean = x.mean(-1, keepdim=True)
    return y, mean, torch.rsqrt((x - mean).square().mean(-1, keepdim=True) + epsilon), x


@op(microsoft("SkipSimplifiedLayerNormalization"))
def skip_root_mean_square(call: OnnxCall) -> tuple[Tensor, ...]:
    """The root-mean-square norm of a sum, what it divides by and the sum itself."""
    x = _summed(call, bias=3)
    y, inverse = _root_mean_square(x, call.tensor(2), call.attr("epsilon", 1e-12), [-1])
    return y, x.mean(-1, keepdim=True), inverse, x


@op("SimplifiedLayerNormalization")
def simplified_layer_normalization(call: OnnxCall) -> tuple[Tensor, ...]:
    """x / sqrt(mean x^2 + epsilon) over the axes from `axis` on, in the standard's domain by onnxruntime's habit."""
    x = call.tensor(0)
    axes = list(range(axis_of(call, x.ndim, -1), x.ndim))
    return _root_mean_square(x, call.tensor(1), call.attr("epsilon", 1e-5), axes)


def _summed(call: OnnxCall, bias: int) -> Tensor:
    x = call.tensor(0) + call.tensor(1)
    return x + call.tensor(bias) if call.has(bias) else x


def _root_mean_square(x: Tensor, scale: Tensor, epsilon: float, axes: list[int]) -> tuple[Tensor, Tensor]:
    inverse = torch.rsqrt(x.square().mean(axes, keepdim=True) + epsilon)
    return x * inverse * scale, inverse


@op(microsoft("Attention"))
def packed_attention(call: OnnxCall) -> tuple[Tensor, ...]:
    """softmax(scale Q K^T + mask) V with (Q, K, V) = x W + b; Y alone."""
    if call.has(4) or call.attr("do_rotary", 0):
        raise call.refuse("keys of the past, and turned ones")
    x, heads = call.tensor(0), int(call.attr("num_heads"))
    packed = x @ call.tensor(1)
    packed = packed + call.tensor(2) if call.has(2) else packed
    sizes = list(call.attr("qkv_hidden_sizes", [])) or [packed.shape[-1] // 3] * 3
    q, k, v = (by_heads(part, heads) for part in packed.split(sizes, -1))
    return (_attended(call, q, k, v, padding=3, bias=5),)


@op(microsoft("MultiHeadAttention"))
def multi_head_attention(call: OnnxCall) -> tuple[Tensor, ...]:
    """softmax(scale Q K^T + mask) V of queries, keys and values of three axes each; Y alone."""
    if not (call.has(1) and call.has(2)) or call.tensor(1).ndim != 3 or any(call.has(i) for i in (6, 7)):
        raise call.refuse("packed keys, and those of the past")
    parts, heads = [call.tensor(i) for i in range(3)], int(call.attr("num_heads"))
    if call.has(3):
        biases = call.tensor(3).split([part.shape[-1] for part in parts])
        parts = [part + bias for part, bias in zip(parts, biases, strict=True)]
    q, k, v = (by_heads(part, heads) for part in parts)
    return (_attended(call, q, k, v, padding=4, bias=5),)


def _attended(call: OnnxCall, q: Tensor, k: Tensor, v: Tensor, *, padding: int, bias: int) -> Tensor:
    if call.has(padding):
        raise call.refuse("masks of padding")
    scale = call.attr("scale", 0.0) or 1.0 / math.sqrt(q.shape[-1])
    logits = (q @ k.mT) * scale
    if call.has(bias):
        logits = logits + call.tensor(bias)
    if call.attr("unidirectional", 0):
        logits = logits + additive(torch.ones(logits.shape[-2:], dtype=torch.bool).tril())
    return (torch.softmax(logits, -1) @ v).transpose(1, 2).flatten(2)


@op(microsoft("MatMulNBits"))
def packed_matrix_product(call: OnnxCall) -> Tensor:
    """A B^T + bias for weights of 4 or 8 bits, packed from the low bits on, a scale and a zero point for each block."""
    bits, block = int(call.attr("bits", 4)), int(call.attr("block_size"))
    rows, columns = int(call.attr("N")), int(call.attr("K"))
    if bits not in (4, 8) or not call.is_exact(1) or call.has(4):
        raise call.refuse("weights of 4 or 8 bits that are stored in order")
    blocks = -(-columns // block)
    levels = _unpacked(call.tensor(1), bits).reshape(rows, blocks, block)
    if not call.has(3):
        zeros = torch.tensor(float(1 << (bits - 1)))
    elif call.is_exact(3) and call.tensor(3).dtype == torch.uint8:
        zeros = _unpacked(call.tensor(3), bits).reshape(rows, -1)[:, :blocks].unsqueeze(-1)
    else:
        raise call.refuse("zero points that are no stored bytes")
    scales = call.tensor(2).reshape(rows, blocks, 1)
    weight = ((levels - zeros) * scales).reshape(rows, -1)[:, :columns]
    product = call.tensor(0) @ weight.t()
    return product + call.tensor(5) if call.has(5) else product


def _unpacked(stored: Tensor, bits: int) -> Tensor:
    """Small integers as float32, which holds them exactly."""
    with disable_proxy_modes_tracing():
        flat = stored.reshape(-1).to(torch.int64)
        parts = [(flat >> shift) & ((1 << bits) - 1) for shift in range(0, 8, bits)]
        return torch.stack(parts, -1).reshape(-1).to(torch.float32)


@op(microsoft("CDist"))
def distances(call: OnnxCall) -> Tensor:
    """Of all rows of A to all of B, or their squares."""
    difference = call.tensor(0).unsqueeze(1) - call.tensor(1)
    if call.attr("metric", "sqeuclidean") == "sqeuclidean":
        return difference.square().sum(-1)
    norms: Tensor = torch.linalg.vector_norm(difference, 2, [-1])
    return norms
