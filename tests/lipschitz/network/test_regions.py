"""Layer norm, RMS norm and softmax from primitives get the constants of the layer."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from app.lipschitz.errors import NotGloballyLipschitz
from tests.lipschitz.helpers import autolip_of, jacobian_norms, network_of

SHAPE = (2, 3, 4)
EPS = 0.01
GAIN = torch.tensor([1.0, -2.0, 0.5, 1.5], dtype=torch.float64)


def layer_norm(x: Tensor, dims: int | tuple[int, ...] = -1) -> Tensor:
    d = x - x.mean(dims, keepdim=True)
    return d / torch.sqrt((d**2).mean(dims, keepdim=True) + EPS)


def layer_norm_by_rsqrt(x: Tensor) -> Tensor:
    d = x - x.mean(-1, keepdim=True)
    return d * torch.rsqrt((d * d).mean(-1, keepdim=True) + EPS)


def layer_norm_by_power(x: Tensor) -> Tensor:
    d = x - x.mean(-1, keepdim=True)
    return d * ((d * d).mean(-1, keepdim=True) + EPS) ** -0.5


def softmax(x: Tensor) -> Tensor:
    e = torch.exp(x - x.amax(-1, keepdim=True))
    return e / e.sum(-1, keepdim=True)


def plain_softmax(x: Tensor) -> Tensor:
    e = torch.exp(x)
    return e / e.sum(1, keepdim=True)


PAIRS = {
    "layer norm": (layer_norm, lambda x: F.layer_norm(x, (4,), eps=EPS)),
    "layer norm by rsqrt": (layer_norm_by_rsqrt, lambda x: F.layer_norm(x, (4,), eps=EPS)),
    "layer norm by a power": (layer_norm_by_power, lambda x: F.layer_norm(x, (4,), eps=EPS)),
    "layer norm with a gain": (lambda x: layer_norm(x) * GAIN + 1, lambda x: F.layer_norm(x, (4,), GAIN, eps=EPS)),
    "instance norm": (lambda x: layer_norm(x, 2), lambda x: F.instance_norm(x, eps=EPS)),
    "layer norm over two axes": (lambda x: layer_norm(x, (1, 2)), lambda x: F.layer_norm(x, (3, 4), eps=EPS)),
    "softmax": (softmax, lambda x: torch.softmax(x, -1)),
    "softmax without shift": (plain_softmax, lambda x: torch.softmax(x, 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_primitives_get_the_native_constant(name: str) -> None:
    primitive, native = PAIRS[name]
    expected = autolip_of(network_of(native, SHAPE), "2")
    assert autolip_of(network_of(primitive, SHAPE), "2") == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("p", ["1", "2", "inf"])
def test_rms_norm(p: str) -> None:
    network = network_of(lambda x: x / torch.sqrt((x * x).mean(-1, keepdim=True) + EPS), SHAPE)
    bound = autolip_of(network, p)
    generator = torch.Generator().manual_seed(1)
    points = torch.cat(
        [s * torch.randn(20, 24, dtype=torch.float64, generator=generator) for s in (0.0, 0.1, 0.2, 1.0)]
    )
    attained = float(jacobian_norms(network, p, points).max())
    assert attained <= bound * (1 + 1e-12)
    if p == "2":
        assert bound == pytest.approx(1 / math.sqrt(EPS), rel=1e-9) == pytest.approx(attained, rel=1e-9)


def test_a_product_with_the_root_is_no_normalisation() -> None:
    """x / rsqrt(mean x^2 + eps) grows like x^2: it must not be taken for x / sqrt(...)."""
    for function in (
        lambda x: x / torch.rsqrt(x.square().mean(-1, keepdim=True) + 0.1),
        lambda x: x * torch.reciprocal(torch.rsqrt(x.square().mean(-1, keepdim=True) + 0.1)),
    ):
        network = network_of(function, (1, 4))
        with pytest.raises(NotGloballyLipschitz):
            autolip_of(network, "2")
