"""Attention and rotary embeddings of operator set 23."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .table import OnnxCall, op


@op("Attention")
def attention(call: OnnxCall) -> tuple[Tensor, ...]:
    """softmax(scale Q K^T + mask) V by heads; Y, and the keys and values with those of the past."""
    flat = call.tensor(0).ndim == 3
    heads = call.attr("q_num_heads"), call.attr("kv_num_heads"), call.attr("kv_num_heads")
    q, k, v = (by_heads(call.tensor(i), heads[i]) if flat else call.tensor(i) for i in range(3))
    if call.has(4):
        k, v = torch.cat([call.tensor(4), k], 2), torch.cat([call.tensor(5), v], 2)
    if call.has(6):
        raise call.refuse("lengths without padding are not supported")
    present, groups = (k, v), q.shape[1] // k.shape[1]
    if groups > 1:
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    root = math.sqrt(call.attr("scale", 1.0 / math.sqrt(q.shape[-1])))
    logits = (root * q) @ (root * k).mT
    y = torch.softmax(_masked(call, logits), -1) @ v
    return (y.transpose(1, 2).flatten(2) if flat else y, *present)


def by_heads(x: Tensor, heads: int) -> Tensor:
    """(batch, length, heads * width) as (batch, heads, length, width)."""
    parted: Tensor = x.unflatten(-1, (heads, -1))
    return parted.transpose(1, 2)


def _masked(call: OnnxCall, logits: Tensor) -> Tensor:
    """The logits with a soft cap and a mask; what the mask leaves out is -inf."""
    cap = call.attr("softcap", 0.0)
    mask = call.optional(3)
    if cap and mask is not None:
        raise call.refuse("a soft cap beside a mask is not supported")
    logits = cap * torch.tanh(logits / cap) if cap else logits
    if mask is not None:
        logits = logits + additive(mask) if mask.dtype == torch.bool else logits + mask
    if call.attr("is_causal", 0):
        past = call.tensor(4).shape[2] if call.has(4) else 0
        logits = logits + additive(torch.ones(logits.shape[-2:], dtype=torch.bool).tril(past))
    return logits


def additive(mask: Tensor) -> Tensor:
    """0 where the mask holds, -inf elsewhere."""
    return torch.where(mask, torch.tensor(0.0), torch.tensor(-math.inf))


@op("RotaryEmbedding")
def rotary_embedding(call: OnnxCall) -> Tensor:
    """Pairs of entries turned by angles; halves are paired, or neighbours."""
    x, heads = call.tensor(0), call.attr("num_heads", 0)
    flat = x.ndim == 3
    x = x.unflatten(-1, (heads, -1)) if flat else x.transpose(1, 2)
    size = int(call.attr("rotary_embedding_dim", 0)) or x.shape[-1]
    cos, sin = (call.tensor(i) if not call.has(3) else call.tensor(i)[call.tensor(3)] for i in (1, 2))
    cos, sin = (t[..., : size // 2].unsqueeze(-2) for t in (cos, sin))
    turned, rest = x[..., :size], x[..., size:]
    interleaved = bool(call.attr("interleaved", 0))
    a, b = (turned[..., 0::2], turned[..., 1::2]) if interleaved else turned.chunk(2, -1)
    first, second = a * cos - b * sin, a * sin + b * cos
    turned = torch.stack([first, second], -1).flatten(-2) if interleaved else torch.cat([first, second], -1)
    y = torch.cat([turned, rest], -1)
    return y.flatten(2) if flat else y.transpose(1, 2)
