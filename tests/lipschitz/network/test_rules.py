"""Every rule on a small example: the network computes the function, and no Jacobian exceeds its constant.

For an affine example the bound must also be exact (up to `slack` where a rule is known to be coarser).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.effort import sampled
from tests.lipschitz.helpers import autolip_of, jacobian_norms, network_of

generator = torch.Generator().manual_seed(7)


def rand(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=generator)


W, V, B = rand(4, 6), rand(3, 4), rand(4)
SHARED = rand(6, 5)
BATCHED = rand(2, 4, 3)
KERNEL1, KERNEL2, KERNEL3 = rand(3, 2, 3), rand(4, 2, 3, 3), rand(2, 2, 2, 2, 2)
DEPTHWISE, UP = rand(2, 1, 3, 3), rand(2, 3, 3, 3)
FLAT, HEAD, LN_GAIN, LN_BIAS = rand(60, 3), rand(5, 2), rand(5), rand(5)
GAIN, MEAN, VARIANCE = rand(2), rand(2), rand(2).abs() + 0.1
IMAGE = (1, 2, 6, 5)

AFFINE = {
    "linear": (lambda x: F.linear(x, W, B), (1, 6)),
    "linear on a batch": (lambda x: F.linear(x, W, B), (3, 6)),
    "linear on a vector": (lambda x: F.linear(x, W, B), (6,)),
    "constant times dependent": (lambda x: W @ x, (6, 2)),
    "dependent times constant": (lambda x: x @ SHARED, (2, 3, 6)),
    "batched product": (lambda x: torch.bmm(x, BATCHED), (2, 5, 4)),
    "batched product from the left": (lambda x: torch.bmm(BATCHED.mT, x), (2, 4, 5)),
    "matrix times vector": (lambda x: torch.mv(W, x), (6,)),
    "dependent matrix times constant vector": (lambda x: torch.mv(x, B), (5, 4)),
    "addmm with factors": (lambda x: torch.addmm(B, x, W.T, beta=0.5, alpha=3.0), (2, 6)),
    "einsum": (lambda x: torch.einsum("bij,jk->bki", x, SHARED), (2, 3, 6)),
    "conv1d": (lambda x: F.conv1d(x, KERNEL1, stride=2, padding=1), (1, 2, 9)),
    "conv2d": (lambda x: F.conv2d(x, KERNEL2, B, stride=(2, 1), padding=(1, 2), dilation=(1, 2)), IMAGE),
    "conv2d on a batch": (lambda x: F.conv2d(x, KERNEL2, padding=1), (2, 2, 4, 4)),
    "conv3d": (lambda x: F.conv3d(x, KERNEL3, padding=1), (1, 2, 3, 3, 3)),
    "depthwise": (lambda x: F.conv2d(x, DEPTHWISE, groups=2, padding=1), IMAGE),
    "transposed": (lambda x: F.conv_transpose2d(x, UP, stride=2, padding=1, output_padding=1), (1, 2, 3, 3)),
    "batch norm": (lambda x: F.batch_norm(x, MEAN, VARIANCE, GAIN, MEAN), IMAGE),
    "batch norm without gain": (lambda x: F.batch_norm(x, MEAN, VARIANCE), IMAGE),
    "conv and batch norm": (lambda x: F.batch_norm(F.conv2d(x, KERNEL2[:2], padding=1), MEAN, VARIANCE, GAIN), IMAGE),
    "scaling": (lambda x: 3 * x / 7 - 1, (1, 6)),
    "scaling by a tensor": (lambda x: x * GAIN[:, None, None] / VARIANCE[:, None, None], IMAGE),
    "scaling that broadcasts": (lambda x: x * B, (2, 1)),
    "negation": (lambda x: -x + 1, (1, 6)),
    "reverse subtraction": (lambda x: 1 - 2 * x, (1, 6)),
    "sum of branches": (lambda x: F.linear(x, W) + 2 * x[:, :4], (1, 6)),
    "difference of branches": (lambda x: torch.sub(F.linear(x, W), x[:, :4], alpha=0.5), (1, 6)),
    "addition that broadcasts": (lambda x: x[:, :1] + F.linear(x, W), (1, 6)),
    "concatenation": (lambda x: torch.cat([F.linear(x, W), x], 1), (1, 6)),
    "concatenation with a constant": (lambda x: torch.cat([B[None], x], 1), (1, 6)),
    "stacking": (lambda x: torch.stack([x, 2 * x], 1), (1, 6)),
    "permutation": (lambda x: x.permute(0, 2, 3, 1).reshape(1, -1) @ FLAT, IMAGE),
    "slicing": (lambda x: x[:, :, 1:5:2, -3:], IMAGE),
    "expansion": (lambda x: x.expand(4, 6), (1, 6)),
    "repetition": (lambda x: x.repeat(2, 3), (1, 6)),
    "index": (lambda x: x[:, torch.tensor([0, 2, 2, 5])], (1, 6)),
    "flip": (lambda x: x.flip(1), (1, 6)),
    "padding": (lambda x: F.pad(x, (1, 2, 0, 1), value=3.0), IMAGE),
    "reflection": (lambda x: F.pad(x, (2, 2, 1, 1), mode="reflect"), IMAGE),
    "replication": (lambda x: F.pad(x, (2, 2, 1, 1), mode="replicate"), IMAGE),
    "circular padding": (lambda x: F.pad(x, (2, 2, 1, 1), mode="circular"), IMAGE),
    "nearest": (lambda x: F.interpolate(x, scale_factor=2, mode="nearest"), IMAGE),
    "bilinear": (lambda x: F.interpolate(x, size=(9, 7), mode="bilinear"), IMAGE),
    "bilinear with corners": (lambda x: F.interpolate(x, size=(9, 7), mode="bilinear", align_corners=True), IMAGE),
    "bicubic": (lambda x: F.interpolate(x, size=(9, 7), mode="bicubic"), IMAGE),
    "pixel shuffle": (lambda x: F.pixel_shuffle(x, 2), (1, 4, 3, 3)),
    "sum over axes": (lambda x: x.sum((1, 3)), IMAGE),
    "sum of all": (lambda x: x.sum(), IMAGE),
    "mean over axes": (lambda x: x.mean((2, 3), keepdim=True), IMAGE),
    "global average and linear": (lambda x: F.linear(x.mean((2, 3)), HEAD), IMAGE),
    "average pool": (lambda x: F.avg_pool2d(x, 2), IMAGE),
    "average pool on a grid with padding": (lambda x: F.avg_pool2d(x, 3, 2, 1), IMAGE),
    "average pool that ignores padding": (lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), IMAGE),
    "average pool that rounds up": (lambda x: F.avg_pool2d(x, 2, 2, ceil_mode=True), IMAGE),
    "average pool in one dimension": (lambda x: F.avg_pool1d(x, 3, 1), (1, 2, 7)),
    "average pool in three": (lambda x: F.avg_pool3d(x, 2), (1, 2, 4, 4, 4)),
    "adaptive average pool": (lambda x: F.adaptive_avg_pool2d(x, (4, 3)), IMAGE),
    "adaptive average pool to one": (lambda x: F.adaptive_avg_pool2d(x, 1), IMAGE),
    "cumulative sum": (lambda x: x.cumsum(2), IMAGE),
    "split": (lambda x: torch.split(x, [2, 4], 1)[1], (1, 6)),
    "chunk": (lambda x: torch.chunk(x, 3, 1)[2] - torch.chunk(x, 3, 1)[0], (1, 6)),
    "unbind": (lambda x: x.unbind(1)[1], IMAGE),
    "upper triangle": (lambda x: x.triu(), (4, 4)),
    "sum of a scaled vector": (lambda x: (x * B[:1]).sum(), (6,)),
    "empty slice beside others": (lambda x: torch.cat([-x[:, 2:2], x], 1), (1, 6)),
    "unfold": (lambda x: F.unfold(x, 2), IMAGE),
}  # fmt: skip

NONLINEAR = {
    "relu": F.relu, "leaky relu": lambda x: F.leaky_relu(x, 0.3), "elu": lambda x: F.elu(x, 1.5),
    "selu": F.selu, "celu": lambda x: F.celu(x, 2.0), "gelu": F.gelu,
    "tanh gelu": lambda x: F.gelu(x, approximate="tanh"), "silu": F.silu, "mish": F.mish,
    "hardswish": F.hardswish, "hardsigmoid": F.hardsigmoid, "hardtanh": F.hardtanh, "relu6": F.relu6,
    "sigmoid": torch.sigmoid, "tanh": torch.tanh, "softplus": lambda x: F.softplus(x, 2.0),
    "log sigmoid": F.logsigmoid, "softshrink": F.softshrink, "sin": torch.sin, "cos": torch.cos,
    "atan": torch.atan, "erf": torch.erf, "abs": torch.abs, "asinh": torch.asinh,
    "clamp": lambda x: x.clamp(-0.5, 0.7), "threshold": lambda x: F.threshold(x, 0.3, 0.3),
    "clamp below": lambda x: x.clamp(min=0.1),
    "clamp to tensors": lambda x: torch.clamp(x, -B[:2, None, None].abs(), B[:2, None, None].abs()),
    "prelu": lambda x: F.prelu(x, GAIN), "rrelu": F.rrelu,
    "maximum with a constant": lambda x: torch.maximum(x, torch.zeros((), dtype=torch.float64)),
    "minimum of two": lambda x: torch.minimum(x, 2 * x.flip(2)),
    "softmax": lambda x: torch.softmax(x, 1), "log softmax": lambda x: torch.log_softmax(x, -1),
    "log sum exp": lambda x: torch.logsumexp(x, (2, 3)),
    "layer norm": lambda x: F.layer_norm(x, (5,), LN_GAIN, LN_BIAS, 0.1),
    "layer norm over two axes": lambda x: F.layer_norm(x, (6, 5), eps=0.1),
    "group norm": lambda x: F.group_norm(x, 1, GAIN, MEAN, 0.1),
    "instance norm": lambda x: F.instance_norm(x, eps=0.1),
    "max pool": lambda x: F.max_pool2d(x, 2), "max pool that overlaps": lambda x: F.max_pool2d(x, 3, 1, 1),
    "max pool with one size for all axes": lambda x: torch.ops.aten.max_pool2d_with_indices(x, [3], [1], [1])[0],
    "max pool with dilation": lambda x: F.max_pool2d(x, 2, 1, dilation=2),
    "adaptive max pool": lambda x: F.adaptive_max_pool2d(x, (4, 3)),
    "max over an axis": lambda x: x.amax(2), "max with indices": lambda x: x.max(2).values,
    "min of all": torch.min, "sort": lambda x: x.sort(2).values, "top k": lambda x: x.topk(2, 3).values,
    "residual": lambda x: x + F.relu(F.conv2d(x, KERNEL2[:2], padding=1)),
    "dense connection": lambda x: F.relu(torch.cat([x, F.relu(F.conv2d(x, KERNEL2[:2], padding=1))], 1)),
    "two outputs": lambda x: (F.relu(x), x.mean((2, 3))),
}  # fmt: skip


@pytest.mark.parametrize(("name", "p"), sampled(AFFINE, ["1", "2", "inf"], every=3))
def test_affine_rules_are_exact(name: str, p: str) -> None:
    function, shape = AFFINE[name]
    network = network_of(function, shape)
    truth = float(jacobian_norms(network, p, torch.zeros(1, network.input.size, dtype=torch.float64)))
    bound = autolip_of(network, p)
    assert bound >= truth * (1 - 1e-12)
    assert bound <= truth * (1 + LOOSE.get((name, p), LOOSE.get(name, 1e-9)))


LOOSE: dict[object, float] = {}
"""How far a rule may lie above the truth, where exactness is not promised."""


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.atan2(x[:, :0], x[:, :0]), lambda x: x[:0].square().sum(-1, keepdim=True).sqrt().reshape(1, 0),
        lambda x: torch.relu(x[:, :0]) * 2.0 + 1.0, lambda x: torch.softmax(x[:, 2:2], 0),
        lambda x: x[:, :0].square().mean(0, keepdim=True).sqrt(),
    ],
)  # fmt: skip
def test_what_has_no_entries_is_constant(function: Callable[[Tensor], Tensor]) -> None:
    """Extremes over no slopes, and means over no entries, ended in unhandled errors."""
    network = network_of(lambda x: torch.cat([x, function(x)], 1), (1, 3))
    assert network.nodes == (network.input,)


@pytest.mark.parametrize(("name", "p"), sampled(NONLINEAR, ["1", "2", "inf"], every=3))
def test_nonlinear_rules_bound_every_jacobian(name: str, p: str) -> None:
    network = network_of(NONLINEAR[name], IMAGE)
    points = torch.cat([scale * rand(6, network.input.size) for scale in (0.01, 1.0, 3.0)])
    attained = float(jacobian_norms(network, p, points).max())
    assert attained <= autolip_of(network, p) * (1 + 1e-12)
    assert attained > 0
