"""Attention as it is written and exported now."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TOKENS, WIDTH, HEADS = 4, 8, 2


class SelfAttention(nn.Module):
    """Projections around `scaled_dot_product_attention`; the keys and values may have fewer heads."""

    def __init__(self, groups: int = HEADS, mask: Tensor | None = None, *, causal: bool = False) -> None:
        super().__init__()
        size = WIDTH // HEADS
        self.groups, self.causal = groups, causal
        self.q, self.kv = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 2 * groups * size)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        q = self.q(x).unflatten(-1, (HEADS, -1)).transpose(1, 2)
        k, v = self.kv(x).unflatten(-1, (2, self.groups, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=self.mask, is_causal=self.causal, enable_gqa=self.groups != HEADS
        )
        return self.out(y.transpose(1, 2).flatten(2))


class MultiHead(nn.Module):
    """torch's own layer."""

    def __init__(self, *, need_weights: bool) -> None:
        super().__init__()
        self.attention, self.need_weights = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True), need_weights

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, need_weights=self.need_weights)[0]


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding: pairs of entries turned by the position's angles."""
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat([-b, a], -1) * sin


class Rotary(nn.Module):
    """A decoder block's first half: RMS norm, rotary embeddings, causal attention, a residual."""

    def __init__(self) -> None:
        super().__init__()
        size = WIDTH // HEADS
        self.norm, self.qkv, self.out = nn.RMSNorm(WIDTH, 1e-2), nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.register_buffer("frequencies", 1.0 / 100.0 ** (torch.arange(0, size, 2) / size))

    def forward(self, x: Tensor) -> Tensor:
        angles = torch.outer(torch.arange(TOKENS, dtype=torch.float32), self.frequencies)
        angles = torch.cat([angles, angles], -1)
        q, k, v = self.qkv(self.norm(x)).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        q, k = (rotated(t, angles.cos(), angles.sin()) for t in (q, k))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return x + self.out(y.transpose(1, 2).flatten(2))


def band() -> Tensor:
    return torch.ones(TOKENS, TOKENS).tril(1).triu(-1).bool()


BLOCKS: Mapping[str, Callable[[], nn.Module]] = {
    "scaled dot product": SelfAttention,
    "causal": lambda: SelfAttention(causal=True),
    "a mask of booleans": lambda: SelfAttention(mask=band()),
    "a mask of numbers": lambda: SelfAttention(mask=torch.randn(TOKENS, TOKENS)),
    "grouped heads": lambda: SelfAttention(groups=1),
    "MultiheadAttention": lambda: MultiHead(need_weights=True),
    "MultiheadAttention without weights": lambda: MultiHead(need_weights=False),
    "rotary, RMS norm": Rotary,
    "encoder layer": lambda: nn.TransformerEncoderLayer(WIDTH, HEADS, 16, batch_first=True),
}


def made(name: str) -> nn.Module:
    torch.manual_seed(2)
    return BLOCKS[name]().eval()
