"""Fused attention operators, taken apart: what they compute, in operators that the rule table knows.

Files hold them where they were exported for a device (flash, efficient, cuDNN) or by the fast path of torch's layers,
which a trace without gradients takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..errors import UnsupportedOperator

aten = torch.ops.aten


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    *,
    causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """softmax(scale Q K^T + mask) V by matrix products."""
    with sdpa_kernel(SDPBackend.MATH):
        return F.scaled_dot_product_attention(query, key, value, mask, is_causal=causal, scale=scale)


def fused(
    *,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    attn_bias: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    **_: Any,
) -> tuple[Tensor, ...]:
    """`_scaled_dot_product_flash_attention`, that for the CPU, the efficient kernel and cuDNN's: their first output."""
    if dropout_p or (is_causal and query.shape[-2] != key.shape[-2]):
        raise UnsupportedOperator("A fused attention with dropout, or causal between unequal lengths, has no rule.")
    mask = attn_bias if attn_mask is None else attn_mask
    return attention(query, key, value, mask, causal=is_causal, scale=scale), query.new_zeros(())


def multi_head(
    *,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    num_head: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    proj_weight: Tensor,
    proj_bias: Tensor,
    mask: Tensor | None = None,
    need_weights: bool = True,
    average_attn_weights: bool = True,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """The fast path of `nn.MultiheadAttention`."""
    if mask is not None:
        raise UnsupportedOperator(
            "The fast path of nn.MultiheadAttention with a mask has no rule: trace with gradients."
        )
    weights, biases = qkv_weight.chunk(3), qkv_bias.chunk(3)
    given = zip((query, key, value), weights, biases, strict=True)
    q, k, v = (F.linear(x, w, b).unflatten(-1, (num_head, -1)).transpose(1, 2) for x, w, b in given)
    joined = attention(q, k, v).transpose(1, 2).flatten(2)
    shares = torch.zeros(0)
    if need_weights:
        shares = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, -1)
        shares = shares.mean(1) if average_attn_weights else shares
    return F.linear(joined, proj_weight, proj_bias), shares


def encoder_layer(*, src: Tensor, embed_dim: int, num_heads: int, use_gelu: bool, norm_first: bool, **a: Any) -> Tensor:
    """The fast path of `nn.TransformerEncoderLayer`; `a` are its weights and its mask by the operator's names."""
    activation = F.gelu if use_gelu else F.relu

    def norm(x: Tensor, which: int) -> Tensor:
        return F.layer_norm(x, [embed_dim], a[f"norm_weight_{which}"], a[f"norm_bias_{which}"], a["eps"])

    def mixed(x: Tensor) -> Tensor:
        return multi_head(query=x, key=x, value=x, num_head=num_heads, need_weights=False, **a)[0]

    def fed(x: Tensor) -> Tensor:
        inner = activation(F.linear(x, a["ffn_weight_1"], a["ffn_bias_1"]))
        return F.linear(inner, a["ffn_weight_2"], a["ffn_bias_2"])

    if norm_first:
        x = src + mixed(norm(src, 1))
        return x + fed(norm(x, 2))
    x = norm(src + mixed(src), 1)
    return norm(x + fed(x), 2)


def _by_name(target: OpOverload, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, called as the operator is: its arguments get the names of the operator's schema."""
    names = [argument.name for argument in target._schema.arguments]
    return lambda *args, **kwargs: function(**dict(zip(names, args, strict=False)), **kwargs)


DECOMPOSITIONS: Mapping[Any, Callable[..., Any]] = {
    target: _by_name(target, function)
    for target, function in (
        (aten._scaled_dot_product_flash_attention_for_cpu.default, fused),
        (aten._scaled_dot_product_flash_attention.default, fused),
        (aten._scaled_dot_product_efficient_attention.default, fused),
        (aten._scaled_dot_product_cudnn_attention.default, fused),
        (aten._native_multi_head_attention.default, multi_head),
        (aten._transformer_encoder_layer_fwd.default, encoder_layer),
    )
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
