"""Fused attention operators, taken apart: what they compute, in operators that the rule table knows.

Files hold them where they were exported for a device (flash, efficient, cuDNN) or by the fast path of torch's layers,
which a trace without gradients takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from app.lipschitz.errors import UnsupportedOperator

aten = torch.ops.aten


def attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool, scale: float | None
) -> Tensor:
    """softmax(scale Q K^T + mask) V by matrix products."""
    with sdpa_kernel(SDPBackend.MATH):
        return F.scaled_dot_product_attention(query, key, value, mask, is_causal=causal, scale=scale)


def _require_plain(dropout: float, query: Tensor, key: Tensor, causal: bool) -> None:
    if dropout or (causal and query.shape[-2] != key.shape[-2]):
        raise UnsupportedOperator("A fused attention with dropout, or causal between unequal lengths, has no rule.")


def flash_on_cpu(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, ...]:
    """`_scaled_dot_product_flash_attention_for_cpu`, its first output."""
    _require_plain(dropout_p, query, key, is_causal)
    return (attention(query, key, value, attn_mask, is_causal, scale), query.new_zeros(()))


def flash(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    return_debug_mask: bool = False,  # noqa: ARG001 - the operator's own signature
    *,
    scale: float | None = None,
) -> tuple[Tensor, ...]:
    """`_scaled_dot_product_flash_attention`, its first output."""
    return flash_on_cpu(query, key, value, dropout_p, is_causal, scale=scale)


def biased(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_bias: Tensor | None,
    compute_log_sumexp: bool = False,  # noqa: ARG001 - the operator's own signature
    dropout_p: float = 0.0,
    is_causal: bool = False,
    return_debug_mask: bool = False,  # noqa: ARG001 - the operator's own signature
    *,
    scale: float | None = None,
) -> tuple[Tensor, ...]:
    """The efficient kernel and cuDNN's, their first output."""
    return flash_on_cpu(query, key, value, dropout_p, is_causal, attn_mask=attn_bias, scale=scale)


def multi_head(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim: int,  # noqa: ARG001 - the operator's own signature
    num_head: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    proj_weight: Tensor,
    proj_bias: Tensor,
    mask: Tensor | None = None,
    need_weights: bool = True,
    average_attn_weights: bool = True,
    mask_type: int | None = None,  # noqa: ARG001 - no mask, no type
) -> tuple[Tensor, Tensor]:
    """The fast path of `nn.MultiheadAttention`."""
    if mask is not None:
        raise UnsupportedOperator(
            "The fast path of nn.MultiheadAttention with a mask has no rule: trace with gradients."
        )
    weights, biases = qkv_weight.chunk(3), qkv_bias.chunk(3)
    given = zip((query, key, value), weights, biases, strict=True)
    q, k, v = (F.linear(x, w, b).unflatten(-1, (num_head, -1)).transpose(1, 2) for x, w, b in given)
    joined = attention(q, k, v, None, False, None).transpose(1, 2).flatten(2)
    shares = torch.zeros(0)
    if need_weights:
        shares = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, -1)
        shares = shares.mean(1) if average_attn_weights else shares
    return F.linear(joined, proj_weight, proj_bias), shares


def encoder_layer(
    src: Tensor,
    embed_dim: int,
    num_heads: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    proj_weight: Tensor,
    proj_bias: Tensor,
    use_gelu: bool,
    norm_first: bool,
    eps: float,
    norm_weight_1: Tensor,
    norm_bias_1: Tensor,
    norm_weight_2: Tensor,
    norm_bias_2: Tensor,
    ffn_weight_1: Tensor,
    ffn_bias_1: Tensor,
    ffn_weight_2: Tensor,
    ffn_bias_2: Tensor,
    mask: Tensor | None = None,
    mask_type: int | None = None,
) -> Tensor:
    """The fast path of `nn.TransformerEncoderLayer`."""
    activation = F.gelu if use_gelu else F.relu

    def first(x: Tensor) -> Tensor:
        return F.layer_norm(x, [embed_dim], norm_weight_1, norm_bias_1, eps)

    def second(x: Tensor) -> Tensor:
        return F.layer_norm(x, [embed_dim], norm_weight_2, norm_bias_2, eps)

    def mixed(x: Tensor) -> Tensor:
        heads = (embed_dim, num_heads, qkv_weight, qkv_bias, proj_weight, proj_bias)
        return multi_head(x, x, x, *heads, mask, False, True, mask_type)[0]

    def fed(x: Tensor) -> Tensor:
        return F.linear(activation(F.linear(x, ffn_weight_1, ffn_bias_1)), ffn_weight_2, ffn_bias_2)

    if norm_first:
        x = src + mixed(first(src))
        return x + fed(second(x))
    x = first(src + mixed(src))
    return second(x + fed(x))


DECOMPOSITIONS: Mapping[Any, Callable[..., Any]] = {
    aten._scaled_dot_product_flash_attention_for_cpu.default: flash_on_cpu,
    aten._scaled_dot_product_flash_attention.default: flash,
    aten._scaled_dot_product_efficient_attention.default: biased,
    aten._scaled_dot_product_cudnn_attention.default: biased,
    aten._native_multi_head_attention.default: multi_head,
    aten._transformer_encoder_layer_fwd.default: encoder_layer,
}
"""While a program is traced."""

FOR_A_DEVICE = {
    str(target): DECOMPOSITIONS[target]
    for target in (
        aten._scaled_dot_product_flash_attention.default,
        aten._scaled_dot_product_efficient_attention.default,
        aten._scaled_dot_product_cudnn_attention.default,
    )
}
"""Operators of exported programs that no CPU has."""
