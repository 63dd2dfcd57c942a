"""Small torch modules of the families that people export, with the shapes of their inputs and a domain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from tests.lipschitz.attention_blocks import TOKENS, WIDTH, MultiHead, Rotary, SelfAttention
from tests.lipschitz.ingest.exporters import Residual, mlp
from tests.lipschitz.one_lipschitz import Bjorck, GroupSort, MaxMin

Shape = tuple[int, ...]
TOKEN_SHAPE = (1, TOKENS, WIDTH)


class Recurrent(nn.Module):
    """A recurrent layer whose state goes in and comes out."""

    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.layer, self.head = kind(3, 4, batch_first=True), nn.Linear(4, 2)


class Gated(Recurrent):
    def __init__(self) -> None:
        super().__init__(nn.GRU)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        y, last = self.layer(x, h)
        return self.head(y[:, -1]), last


class LongShort(Recurrent):
    def __init__(self) -> None:
        super().__init__(nn.LSTM)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, (last, cell) = self.layer(x, (h, c))
        return self.head(y[:, -1]), last, cell


class Padded(nn.Module):
    """Attention that leaves out the last token, by torch's padding mask."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.register_buffer("padding", torch.arange(TOKENS)[None] == TOKENS - 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, key_padding_mask=self.padding, need_weights=False)[0]


class VisionBlock(nn.Module):
    """Patches by a convolution, a class token, positions, and a block that normalises first."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, WIDTH, 4, 4)
        self.token, self.places = nn.Parameter(torch.randn(1, 1, WIDTH)), nn.Parameter(torch.randn(1, 5, WIDTH))
        self.first, self.second = nn.LayerNorm(WIDTH, 0.1), nn.LayerNorm(WIDTH, 0.1)
        self.attention = MultiHead(need_weights=False)
        self.inner, self.outer = nn.Linear(WIDTH, 16), nn.Linear(16, WIDTH)
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token, tokens], 1) + self.places
        tokens = tokens + self.attention(self.first(tokens))
        tokens = tokens + self.outer(F.gelu(self.inner(self.second(tokens))))
        return self.head(tokens[:, 0])


class Norms(nn.Module):
    """Root mean square, layer and group norm, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.rms, self.layer, self.group = nn.RMSNorm(6, 0.1), nn.LayerNorm((4, 6), 0.1), nn.GroupNorm(2, 4, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.group(self.layer(self.rms(x)))


class Gates(nn.Module):
    """GLU as torch has it, and SwiGLU as language models write it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.gate, self.up, self.down = (nn.Linear(*sizes) for sizes in ((6, 8), (4, 5), (4, 5), (5, 3)))

    def forward(self, x: Tensor) -> Tensor:
        y = F.glu(self.first(x), -1)
        return self.down(F.silu(self.gate(y)) * self.up(y))


class Embedded(nn.Module):
    """A text encoder on given embeddings: positions are looked up, tokens are pooled."""

    def __init__(self) -> None:
        super().__init__()
        self.places, self.norm, self.head = nn.Embedding(TOKENS, WIDTH), nn.LayerNorm(WIDTH, 0.1), nn.Linear(WIDTH, 2)
        self.register_buffer("positions", torch.arange(TOKENS)[None])

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(x + self.places(self.positions)).mean(1))


class Unet(nn.Module):
    """One level down and up again, beside a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.down, self.inside = (nn.Conv2d(*sizes, 3, padding=1) for sizes in ((2, 3), (3, 4), (4, 4)))
        self.up, self.last = nn.ConvTranspose2d(4, 3, 2, 2), nn.Conv2d(6, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        top = torch.relu(self.first(x))
        low = torch.relu(self.inside(torch.relu(self.down(F.max_pool2d(top, 2)))))
        return self.last(torch.cat([top, self.up(low)], 1))


class Dense(nn.Module):
    """Each layer reads all that came before it (Huang et al., CVPR 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(2 + 2 * k, 2, 3, padding=1) for k in range(3))
        self.norms = nn.ModuleList(nn.BatchNorm2d(2 + 2 * k) for k in range(3))

    def forward(self, x: Tensor) -> Tensor:
        for norm, layer in zip(self.norms, self.layers):  # noqa: B905 - TorchScript knows no `strict`
            x = torch.cat([x, layer(torch.relu(norm(x)))], 1)
        return F.avg_pool2d(x, 2)


class Mixer(nn.Module):
    """Two layers over the tokens, two over the channels (Tolstikhin et al., NeurIPS 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH, 0.1) for _ in range(2))
        self.tokens = nn.Sequential(nn.Linear(TOKENS, 6), nn.GELU(), nn.Linear(6, TOKENS))
        self.channels = nn.Sequential(nn.Linear(WIDTH, 12), nn.GELU(), nn.Linear(12, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(self.norms[0](x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norms[1](x))


class Einstein(nn.Module):
    """Sums over letters: a weight for each head, the heads' products, and their sum."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.out = (nn.Parameter(0.5 * torch.randn(2, WIDTH, 3)) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        q, k = torch.einsum("btd,hdk->bhtk", x, self.q), torch.einsum("btd,hdk->bhtk", x, self.k)
        weights = torch.softmax(torch.einsum("bhtk,bhsk->bhts", q, k), -1)
        return torch.einsum("bhts,bhsk,hdk->btd", weights, q, self.out)


class Policy(nn.Module):
    """A robot's policy: normalised observations, a history encoded to a latent, and an actor that reads both."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.randn(20))
        self.register_buffer("deviation", torch.rand(20) + 0.5)
        self.encoder = nn.Sequential(nn.Linear(20, 8), nn.ELU(), nn.Linear(8, 3))
        self.actor = nn.Sequential(nn.Linear(8, 8), nn.ELU(), nn.Linear(8, 2), nn.Tanh())

    def forward(self, history: Tensor) -> Tensor:
        seen = ((history - self.mean) / self.deviation).clamp(-5.0, 5.0)
        latent = F.normalize(self.encoder(seen), dim=-1, eps=0.5)
        return self.actor(torch.cat([seen.view(-1, 4, 5)[:, -1], latent], -1))


def images(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers)


@dataclass(frozen=True)
class Family:
    """How a module is made, the shapes of its inputs, and the half width of the box; None for the whole space."""

    make: Callable[[], nn.Module]
    shapes: tuple[Shape, ...]
    box: float | None = None


IMAGE = ((1, 2, 6, 6),)
FAMILIES: Mapping[str, Family] = {
    "mlp": Family(mlp, ((1, 6),)),
    "cnn": Family(
        lambda: images(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()), IMAGE
    ),
    "residual block": Family(lambda: Residual(2, 4, 2), IMAGE),
    "GRU with state": Family(Gated, ((1, 3, 3), (1, 1, 4)), 1.0),
    "LSTM with state": Family(LongShort, ((1, 3, 3), (1, 1, 4), (1, 1, 4)), 1.0),
    "causal attention": Family(lambda: SelfAttention(causal=True), (TOKEN_SHAPE,), 1.0),
    "grouped heads": Family(lambda: SelfAttention(groups=1), (TOKEN_SHAPE,), 1.0),
    "multi-head attention": Family(lambda: MultiHead(need_weights=False), (TOKEN_SHAPE,), 1.0),
    "padding mask": Family(Padded, (TOKEN_SHAPE,), 1.0),
    "rotary attention": Family(Rotary, (TOKEN_SHAPE,), 1.0),
    "vision transformer": Family(VisionBlock, ((1, 1, 8, 8),), 1.0),
    "norms": Family(Norms, ((1, 4, 6),), 1.0),
    "instance norm": Family(
        lambda: images(nn.Conv2d(2, 3, 3), nn.InstanceNorm2d(3, 0.1, affine=True), nn.ReLU()), IMAGE
    ),
    "depthwise": Family(
        lambda: images(nn.Conv2d(2, 4, 3, groups=2, padding=1), nn.ReLU6(), nn.Conv2d(4, 3, 1), nn.Hardswish()),
        IMAGE,
        2.0,
    ),
    "transposed convolution": Family(
        lambda: images(nn.ConvTranspose2d(2, 3, 3, 2, 1, 1), nn.LeakyReLU(), nn.ConvTranspose2d(3, 1, 2, groups=1)),
        IMAGE,
    ),
    "pixel shuffle": Family(lambda: images(nn.Conv2d(2, 4, 3), nn.PixelShuffle(2), nn.Conv2d(1, 1, 3)), IMAGE),
    "upsampling": Family(
        lambda: images(
            nn.Upsample(scale_factor=2), nn.Conv2d(2, 2, 3), nn.ReLU(), nn.UpsamplingBilinear2d(scale_factor=2)
        ),
        IMAGE,
    ),
    "gated units": Family(Gates, ((1, 6),), 1.0),
    "given embeddings": Family(Embedded, (TOKEN_SHAPE,), 1.0),
    "U-Net": Family(Unet, IMAGE),
    "DenseNet block": Family(Dense, IMAGE),
    "spectral norm": Family(
        lambda: images(
            parametrizations.spectral_norm(nn.Linear(6, 5)), nn.ReLU(), nn.utils.spectral_norm(nn.Linear(5, 3))
        ),
        ((1, 6),),
    ),
    "weight norm": Family(
        lambda: images(parametrizations.weight_norm(nn.Linear(6, 5)), nn.ReLU(), nn.utils.weight_norm(nn.Linear(5, 3))),
        ((1, 6),),
    ),
    "orthogonal": Family(
        lambda: images(
            parametrizations.orthogonal(nn.Linear(6, 6)), MaxMin(), parametrizations.orthogonal(nn.Linear(6, 3))
        ),
        ((1, 6),),
    ),
    "sorted groups": Family(lambda: images(Bjorck(6, 6), GroupSort(3), MaxMin(), nn.Linear(6, 2)), ((1, 6),)),
    "mixer": Family(Mixer, (TOKEN_SHAPE,), 1.0),
    "Einstein sums": Family(Einstein, (TOKEN_SHAPE,), 1.0),
    "policy with history": Family(Policy, ((1, 20),), 1.0),
}


def built(name: str) -> nn.Module:
    """The family's module in evaluation mode, gains and statistics of norms as if trained."""
    torch.manual_seed(5)
    module = FAMILIES[name].make()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm | nn.InstanceNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias)
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_var, 0.5, 2.0)
    return module.eval()


def examples(name: str) -> tuple[Tensor, ...]:
    """One input."""
    return tuple(torch.randn(shape) for shape in FAMILIES[name].shapes)
