"""The operators that random graphs are made of: given the shapes they meet, they draw their parameters.

Each is a torch function or an ATen overload; together they reach every rule of the table that tracing can
reach.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Shape = tuple[int, ...]
Drawn = Callable[..., Tensor] | None
aten = torch.ops.aten


@dataclass(frozen=True)
class Draw:
    """The one source of chance of a program."""

    random: random.Random
    generator: torch.Generator

    def integer(self, low: int, high: int) -> int:
        """Both ends included."""
        return self.random.randint(low, high)

    def real(self, low: float, high: float) -> float:
        return self.random.uniform(low, high)

    def choice(self, among: Sequence[Any]) -> Any:
        return self.random.choice(among)

    def tensor(self, *shape: int) -> Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=self.generator)

    def indices(self, count: int, below: int) -> Tensor:
        return torch.randint(below, (count,), generator=self.generator)

    def axis(self, shape: Shape) -> int:
        """An axis, counted from either end."""
        axis = self.integer(0, len(shape) - 1)
        return self.choice([axis, axis - len(shape)])

    def broadcasting(self, shape: Shape) -> Tensor:
        """A constant that broadcasts to `shape`: some axes of length 1, some leading ones missing."""
        sizes = [self.choice([1, n, n]) for n in shape]
        return self.tensor(*sizes[self.integer(0, len(sizes)) :])


@dataclass(frozen=True)
class Operator:
    """`draw` gets the shapes of the values read and returns the function, or None where they do not fit."""

    name: str
    arity: int
    draw: Callable[..., Drawn]


OPERATORS: dict[str, Operator] = {}
STEEP: dict[str, Operator] = {}
"""Operators with a finite constant on bounded sets only."""


def operator(arity: int = 1, table: dict[str, Operator] = OPERATORS) -> Callable[[Callable[..., Drawn]], Any]:
    """Register a drawing function under its own name."""

    def register(draw: Callable[..., Drawn]) -> Callable[..., Drawn]:
        table[draw.__name__] = Operator(draw.__name__, arity, draw)
        return draw

    return register


def family(**functions: Callable[[Tensor], Tensor]) -> None:
    """Register functions of any tensor that need no parameters."""
    for name, function in functions.items():
        OPERATORS[name] = Operator(name, 1, lambda draw, shape, function=function: function)


def fit(x: Tensor, shape: Shape) -> Tensor:
    """The entries of x, repeated or cut to fill `shape`: connects any two values."""
    count = math.prod(shape)
    return x.reshape(-1)[torch.arange(count) % x.numel()].reshape(shape)


# -- matrix products and convolutions ---------------------------------------------------------------------


@operator()
def linear(draw: Draw, shape: Shape) -> Drawn:
    if not shape:
        return None
    out = draw.integer(1, 5)
    weight, bias = draw.tensor(out, shape[-1]), draw.choice([None, draw.tensor(out)])
    return lambda x: F.linear(x, weight, bias)


@operator()
def left_product(draw: Draw, shape: Shape) -> Drawn:
    if len(shape) < 2:
        return None
    weight = draw.tensor(draw.integer(1, 4), shape[-2])
    return lambda x: weight @ x


@operator()
def batched_product(draw: Draw, shape: Shape) -> Drawn:
    if len(shape) != 3:
        return None
    b, n, d = shape
    weight, left, bias = draw.tensor(b, d, 3), draw.tensor(b, 2, n), draw.tensor(b, n, 3)
    return draw.choice([lambda x: torch.bmm(x, weight), lambda x: torch.bmm(left, x),
                        lambda x: torch.baddbmm(bias, x, weight, beta=0.5, alpha=2.0)])  # fmt: skip


@operator()
def vector_product(draw: Draw, shape: Shape) -> Drawn:
    if len(shape) == 1:
        weight, bias = draw.tensor(3, *shape), draw.tensor(3)
        return draw.choice([lambda x: torch.mv(weight, x), lambda x: torch.addmv(bias, weight, x, beta=2.0, alpha=0.5)])
    if len(shape) == 2:
        vector = draw.tensor(shape[1])
        return lambda x: torch.mv(x, vector)
    return None


@operator()
def einsum(draw: Draw, shape: Shape) -> Drawn:
    if len(shape) != 3:
        return None
    weight = draw.tensor(shape[2], 2)
    return lambda x: torch.einsum("bij,jk->bki", x, weight)


@operator()
def convolution(draw: Draw, shape: Shape) -> Drawn:
    dims = len(shape) - draw.choice([1, 2, 2])
    if dims not in (1, 2, 3) or min(shape[-dims:]) < 2:
        return None
    channels, batched = shape[-dims - 1], len(shape) == dims + 2
    groups = draw.choice([1, 1, channels])
    kernel = [draw.integer(1, min(3, n)) for n in shape[-dims:]]
    weight = draw.tensor(groups * draw.integer(1, 2), channels // groups, *kernel)
    bias = draw.choice([None, draw.tensor(weight.shape[0])])
    stride, padding = draw.integer(1, 2), draw.integer(0, 1)
    dilation = draw.choice([1, 1, 2])
    apply = (F.conv1d, F.conv2d, F.conv3d)[dims - 1]
    reach = [n + 2 * padding - dilation * (k - 1) for n, k in zip(shape[-dims:], kernel, strict=True)]
    assert batched or len(shape) == dims + 1
    return (lambda x: apply(x, weight, bias, stride, padding, dilation, groups)) if min(reach) > 0 else None


@operator()
def transposed_convolution(draw: Draw, shape: Shape) -> Drawn:
    dims = len(shape) - 2
    if dims not in (1, 2):
        return None
    groups = draw.choice([1, shape[1]])
    weight = draw.tensor(shape[1], draw.integer(1, 2), *(draw.integer(1, 3) for _ in range(dims)))
    stride = draw.integer(1, 2)
    apply = (F.conv_transpose1d, F.conv_transpose2d)[dims - 1]
    return lambda x: apply(x, weight, None, stride, 0, stride - 1, groups)


@operator()
def batch_norm(draw: Draw, shape: Shape) -> Drawn:
    if len(shape) < 2:
        return None
    mean, gain, bias = (draw.tensor(shape[1]) for _ in range(3))
    variance = draw.tensor(shape[1]).abs() + 0.1
    return lambda x: F.batch_norm(x, mean, variance, gain, bias)


# -- products and sums with constants ---------------------------------------------------------------------


@operator()
def times(draw: Draw, shape: Shape) -> Drawn:
    weight, number = draw.broadcasting(shape), draw.real(-2, 2)
    return draw.choice([lambda x: x * weight, lambda x: weight * x, lambda x: x * number])


@operator()
def over(draw: Draw, shape: Shape) -> Drawn:
    weight, number = draw.broadcasting(shape), draw.real(0.5, 3)
    divisor = weight.sign() * (weight.abs() + 0.3)
    return draw.choice([lambda x: x / divisor, lambda x: x / number])


@operator()
def plus(draw: Draw, shape: Shape) -> Drawn:
    term, alpha = draw.broadcasting(shape), draw.real(-2, 2)
    return draw.choice([lambda x: torch.add(x, term, alpha=alpha), lambda x: x + 0.7, lambda x: x - term,
                        lambda x: torch.rsub(x, term, alpha=alpha), lambda x: 0.3 - x])  # fmt: skip


@operator()
def widened(draw: Draw, shape: Shape) -> Drawn:
    """A constant larger than the value: the value broadcasts."""
    term = draw.tensor(2, *([1] * len(shape)))
    return draw.choice([lambda x: x + term, lambda x: x * term, lambda x: torch.maximum(x, term)])


@operator()
def prepared_weight(draw: Draw, shape: Shape) -> Drawn:
    """A weight computed in the graph out of constants (weight normalisation)."""
    if not shape:
        return None
    direction, length = draw.tensor(3, shape[-1]), draw.tensor(3, 1)

    def apply(x: Tensor) -> Tensor:
        return F.linear(x, length * direction / torch.sqrt((direction * direction).sum(1, keepdim=True)))

    return apply


# -- sums, means, pooling, resampling ---------------------------------------------------------------------


@operator()
def reduction(draw: Draw, shape: Shape) -> Drawn:
    if not shape:
        return None
    axes = [axis for axis in range(len(shape)) if draw.integer(0, 1)] or [-1]
    keepdim = draw.choice([True, False])
    return draw.choice([lambda x: x.sum(axes, keepdim), lambda x: x.mean(axes, keepdim), lambda x: x.sum(),
                        lambda x: x.mean(), lambda x: x.amax(axes, keepdim), lambda x: x.amin(axes, keepdim),
                        lambda x: torch.logsumexp(x, axes, keepdim)])  # fmt: skip


@operator()
def extremum_with_indices(draw: Draw, shape: Shape) -> Drawn:
    if not shape:
        return None
    axis, keepdim = draw.axis(shape), draw.choice([True, False])
    k = draw.integer(1, shape[axis])
    return draw.choice([lambda x: x.max(axis, keepdim).values, lambda x: x.min(axis, keepdim).values,
                        lambda x: x.sort(axis).values, lambda x: x.sort(axis, descending=True).values,
                        lambda x: torch.sort(x, stable=True, dim=axis).values, lambda x: x.topk(k, axis).values,
                        torch.max, torch.min])  # fmt: skip


@operator()
def pool(draw: Draw, shape: Shape) -> Drawn:
    dims = len(shape) - draw.choice([1, 2, 2])
    if dims not in (1, 2, 3) or min(shape[-dims:]) < 2:
        return None
    kernel = [draw.integer(1, min(3, n)) for n in shape[-dims:]]
    padding = [draw.integer(0, k // 2) for k in kernel]
    stride, ceil_mode, counted = draw.integer(1, 2), draw.choice([True, False]), draw.choice([True, False])
    maximum = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[dims - 1]
    average = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[dims - 1]
    return draw.choice([lambda x: maximum(x, kernel, stride, padding, 1, ceil_mode),
                        lambda x: average(x, kernel, stride, padding, ceil_mode, counted)])  # fmt: skip


@operator()
def dilated_max_pool(draw: Draw, shape: Shape) -> Drawn:
    if len(shape) != 4 or min(shape[2:]) < 3:
        return None
    stride = draw.integer(1, 3)
    return lambda x: F.max_pool2d(x, 2, stride, 0, 2)


@operator()
def adaptive_pool(draw: Draw, shape: Shape) -> Drawn:
    dims = len(shape) - 2
    if dims not in (1, 2):
        return None
    sizes = [draw.integer(1, n + 1) for n in shape[2:]]
    average = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d)[dims - 1]
    maximum = (F.adaptive_max_pool1d, F.adaptive_max_pool2d)[dims - 1]
    return draw.choice([lambda x: average(x, sizes), lambda x: maximum(x, sizes)])


@operator()
def pool_in_space(draw: Draw, shape: Shape) -> Drawn:
    """A 4-d value taken as one batch of 5-d."""
    if len(shape) != 4 or min(shape[1:]) < 2:
        return None
    return draw.choice([lambda x: F.avg_pool3d(x[None], 2, 1)[0], lambda x: F.max_pool3d(x[None], 2, 1)[0],
                        lambda x: F.adaptive_avg_pool3d(x[None], 2)[0],
                        lambda x: F.adaptive_max_pool3d(x[None], 2)[0],
                        lambda x: F.interpolate(x[None], size=(2, 2, 3), mode="trilinear")[0],
                        lambda x: F.interpolate(x[None], size=(2, 2, 3), mode="nearest")[0],
                        lambda x: F.interpolate(x[None], size=(2, 2, 3), mode="nearest-exact")[0],
                        lambda x: F.pad(x[None], (1, 0, 1, 1, 0, 1), mode="replicate")[0],
                        lambda x: F.pad(x[None], (1, 0, 1, 1, 0, 1), mode="reflect")[0]])  # fmt: skip


@operator()
def resized(draw: Draw, shape: Shape) -> Drawn:
    dims = len(shape) - 2
    if dims not in (1, 2):
        return None
    sizes = [draw.integer(1, n + 2) for n in shape[2:]]
    smooth = draw.choice(["linear"] if dims == 1 else ["bilinear", "bicubic"])
    mode, corners = draw.choice(["nearest", "nearest-exact", smooth, smooth]), draw.choice([True, False])
    antialias = dims == 2 and mode == smooth and draw.integer(0, 3) == 0
    return lambda x: F.interpolate(x, sizes, mode=mode, align_corners=corners if mode == smooth else None,
                                   antialias=antialias)  # fmt: skip


@operator()
def cumulative_sum(draw: Draw, shape: Shape) -> Drawn:
    axis = draw.axis(shape) if shape else 0
    return lambda x: x.cumsum(axis)


# -- movement of entries ----------------------------------------------------------------------------------


@operator()
def reshaped(draw: Draw, shape: Shape) -> Drawn:
    count = math.prod(shape)
    first = draw.choice([n for n in range(1, count + 1) if count % n == 0])
    second = draw.choice([n for n in range(1, count // first + 1) if count // first % n == 0])
    sizes = draw.choice([(first, -1), (first, second, -1), (1, first, second, -1), (-1,)])
    return lambda x: x.reshape(sizes)


@operator()
def permuted(draw: Draw, shape: Shape) -> Drawn:
    if len(shape) < 2:
        return None
    order = list(range(len(shape)))
    draw.random.shuffle(order)
    a, b = draw.axis(shape), draw.axis(shape)
    return draw.choice([lambda x: x.permute(order), lambda x: x.transpose(a, b), lambda x: x.movedim(a, b),
                        lambda x: x.t() if x.ndim == 2 else x.mT])  # fmt: skip


@operator()
def squeezed(draw: Draw, shape: Shape) -> Drawn:
    axis = draw.integer(0, len(shape))
    if len(shape) < 4:
        return lambda x: x.unsqueeze(axis)
    return draw.choice([torch.squeeze, lambda x: x.squeeze(0), lambda x: x.squeeze((0, 1)), torch.flatten,
                        lambda x: x.flatten(1)])  # fmt: skip


@operator()
def cut(draw: Draw, shape: Shape) -> Drawn:
    if not shape:
        return None
    axis = draw.axis(shape)
    n = shape[axis]
    start, step = draw.integer(0, n - 1), draw.integer(1, 2)
    length = draw.integer(1, n - start)
    pieces = [start, n - start] if start else [n]
    return draw.choice([lambda x: aten.slice.Tensor(x, axis, start, start + length, step),
                        lambda x: x.narrow(axis, start, length), lambda x: x.select(axis, start),
                        lambda x: x.split(pieces, axis)[-1], lambda x: x.split(length, axis)[0],
                        lambda x: x.chunk(2, axis)[0], lambda x: x.unbind(axis)[start],
                        lambda x: x.unfold(axis, length, step)])  # fmt: skip


@operator()
def indexed(draw: Draw, shape: Shape) -> Drawn:
    if not shape:
        return None
    axis = draw.axis(shape)
    chosen = draw.indices(draw.integer(1, 4), shape[axis])
    flat = draw.indices(draw.integer(1, 6), math.prod(shape))
    column = [1] * len(shape)
    column[axis] = len(chosen)
    grid = chosen.reshape(column).expand([len(chosen) if n == axis % len(shape) else size
                                          for n, size in enumerate(shape)])  # fmt: skip
    rows, columns = chosen % shape[0], chosen % shape[-1]
    return draw.choice([lambda x: x.index_select(axis, chosen), lambda x: torch.gather(x, axis, grid),
                        lambda x: torch.take(x, flat), lambda x: x[rows], lambda x: x[..., columns],
                        lambda x: x[rows, ..., columns] if x.ndim > 1 else x])  # fmt: skip


@operator()
def copied(draw: Draw, shape: Shape) -> Drawn:
    times = [draw.integer(1, 2) for _ in shape]
    return draw.choice([lambda x: x.repeat(2, *times), lambda x: x.tile(2), lambda x: x[None].expand(3, *shape),
                        lambda x: torch.broadcast_to(x, (2, *shape)), lambda x: torch.stack([x, -x, x])])  # fmt: skip


@operator()
def turned(draw: Draw, shape: Shape) -> Drawn:
    if len(shape) < 2:
        return lambda x: x.roll(1) if x.ndim else x
    a, b = draw.random.sample(range(len(shape)), 2)
    k = draw.integer(-1, 2)
    return draw.choice([lambda x: x.flip(a), lambda x: x.flip([a, b]), lambda x: x.roll(k, a), lambda x: x.roll(k),
                        lambda x: x.rot90(k, [a, b]), lambda x: x.diagonal(k, a, b), lambda x: x.tril(k),
                        lambda x: x.triu(k)])  # fmt: skip


@operator()
def padded(draw: Draw, shape: Shape) -> Drawn:
    axes = min(len(shape) - 1, 2)
    if axes < 1:
        return None
    sizes = [draw.integer(0, min(2, shape[-1 - i // 2] - 1)) for i in range(2 * axes)]
    value = draw.real(-2, 2)
    modes = ["reflect", "replicate", "circular"] if len(shape) == axes + 2 else []
    mode = draw.choice([*modes, "constant"])
    return lambda x: F.pad(x, sizes, mode, value if mode == "constant" else None)


@operator()
def shuffled(draw: Draw, shape: Shape) -> Drawn:
    if len(shape) != 4:
        return None
    even = all(n % 2 == 0 for n in shape[2:])
    options = [lambda x: F.unfold(x, 2)] if min(shape[2:]) >= 2 else []
    options += [lambda x: F.pixel_shuffle(x, 2)] if shape[1] % 4 == 0 else []
    options += [lambda x: F.pixel_unshuffle(x, 2)] if even else []
    options += [lambda x: F.channel_shuffle(x, 2)] if shape[1] % 2 == 0 else []
    return draw.choice(options) if options else None


@operator()
def strided(draw: Draw, shape: Shape) -> Drawn:
    count = math.prod(shape)
    if count < 4:
        return None
    offset = draw.integer(0, count - 4)
    return lambda x: torch.as_strided(x.reshape(-1).clone(), (2, 2), (1, 2), offset)


@operator(2)
def written(draw: Draw, shape: Shape, other: Shape) -> Drawn:
    """Part of one value replaced by entries of another, or by a constant."""
    if not shape:
        return None
    axis = draw.integer(0, len(shape) - 1)
    end = draw.integer(1, shape[axis])
    part = [end if n == axis else size for n, size in enumerate(shape)]
    row = [size for n, size in enumerate(shape) if n != axis]
    places = [torch.randperm(shape[0], generator=draw.generator)[:1]]
    constant = draw.tensor(*part)
    return draw.choice([lambda x, y: torch.slice_scatter(x, fit(y, part), axis, 0, end),
                        lambda x, y: torch.slice_scatter(x, constant, axis, 0, end),
                        lambda x, y: torch.select_scatter(x, fit(y, row), axis, 0),
                        lambda x, y: torch.index_put(x, places, fit(y, (1, *shape[1:]))),
                        lambda x, y: torch.index_put(constant.new_zeros(shape), places, fit(y, (1, *shape[1:]))),
                        ])  # fmt: skip


# -- activations and normalisations -----------------------------------------------------------------------

family(
    relu=F.relu, relu6=F.relu6, selu=F.selu, gelu=F.gelu, tanh_gelu=lambda x: F.gelu(x, approximate="tanh"),
    silu=F.silu, mish=F.mish, hardswish=F.hardswish, hardsigmoid=F.hardsigmoid, hardtanh=F.hardtanh,
    sigmoid=torch.sigmoid, tanh=torch.tanh, log_sigmoid=F.logsigmoid, softshrink=F.softshrink, sin=torch.sin,
    cos=torch.cos, atan=torch.atan, asinh=torch.asinh, erf=torch.erf, magnitude=torch.abs, rrelu=F.rrelu,
    negative=torch.neg, cloned=torch.clone,
)  # fmt: skip


@operator()
def activation(draw: Draw, shape: Shape) -> Drawn:
    a, b = draw.real(0.05, 2), draw.real(-1, 1)
    return draw.choice([lambda x: F.leaky_relu(x, b), lambda x: F.elu(x, a), lambda x: F.celu(x, a),
                        lambda x: F.softplus(x, a), lambda x: F.softshrink(x, a), lambda x: F.hardtanh(x, -a, a),
                        lambda x: aten.elu.default(x, -a, 1.5, 0.5)])  # fmt: skip


@operator()
def clipped(draw: Draw, shape: Shape) -> Drawn:
    low = draw.broadcasting(shape)
    high = low + draw.real(0, 1)
    return draw.choice([lambda x: x.clamp(-0.4, 0.9), lambda x: x.clamp(min=0.1), lambda x: x.clamp(max=0.2),
                        lambda x: torch.clamp(x, low, high), lambda x: torch.clamp(x, min=low),
                        lambda x: torch.clamp(x, max=high), lambda x: torch.minimum(x, low),
                        lambda x: torch.maximum(low, x)])  # fmt: skip


@operator()
def prelu(draw: Draw, shape: Shape) -> Drawn:
    if len(shape) < 2:
        return None
    weight = draw.tensor(draw.choice([1, shape[1]]))
    return lambda x: F.prelu(x, weight)


@operator()
def softmax(draw: Draw, shape: Shape) -> Drawn:
    if not shape:
        return None
    axis = draw.axis(shape)
    return draw.choice([lambda x: torch.softmax(x, axis), lambda x: torch.log_softmax(x, axis)])


@operator()
def layer_norm(draw: Draw, shape: Shape) -> Drawn:
    if not shape:
        return None
    over = shape[-draw.integer(1, len(shape)) :]
    gain, bias, eps = draw.tensor(*over), draw.tensor(*over), draw.choice([0.5, 0.1, 1e-3])
    return lambda x: F.layer_norm(x, over, gain, bias, eps)


@operator()
def group_norm(draw: Draw, shape: Shape) -> Drawn:
    if len(shape) < 3:
        return None
    gain, bias, eps = draw.tensor(shape[1]), draw.tensor(shape[1]), draw.choice([0.5, 0.1, 1e-3])
    groups = draw.choice([1, shape[1]])
    whole = math.prod(shape[2:]) > 1
    return draw.choice([lambda x: F.group_norm(x, groups, gain, bias, eps),
                        lambda x: F.instance_norm(x, weight=gain, eps=eps) if whole else x])  # fmt: skip


# -- several values ---------------------------------------------------------------------------------------


@operator(2)
def combined(draw: Draw, shape: Shape, other: Shape) -> Drawn:
    alpha = draw.real(-2, 2)
    return draw.choice([lambda x, y: x + fit(y, shape), lambda x, y: torch.sub(x, fit(y, shape), alpha=alpha),
                        lambda x, y: torch.maximum(x, fit(y, shape)), lambda x, y: torch.minimum(fit(y, shape), x),
                        lambda x, y: x + y.mean(), lambda x, y: torch.add(y.sum(), x, alpha=alpha),
                        lambda x, y: torch.maximum(x, y.sum())])  # fmt: skip


@operator(2)
def joined(draw: Draw, shape: Shape, other: Shape) -> Drawn:
    if not shape:
        return lambda x, y: torch.hstack([x, y.reshape(-1)])
    axis = draw.axis(shape)
    constant = draw.tensor(*shape)
    return draw.choice([lambda x, y: torch.cat([x, fit(y, shape)], axis),
                        lambda x, y: torch.cat([fit(y, shape), constant, x], axis),
                        lambda x, y: torch.stack([x, fit(y, shape), x], axis), lambda x, y: torch.cat([x, x], axis),
                        lambda x, y: torch.vstack([x, fit(y, shape)]), lambda x, y: torch.hstack([x, constant]),
                        ])  # fmt: skip


@operator(3)
def three_branches(draw: Draw, shape: Shape, second: Shape, third: Shape) -> Drawn:
    return draw.choice([lambda x, y, z: x + fit(y, shape) - 2 * fit(z, shape),
                        lambda x, y, z: torch.stack([x, fit(y, shape), fit(z, shape)]),
                        lambda x, y, z: x.relu() + fit(y, shape).relu() + fit(z, shape)])  # fmt: skip


@operator()
def constant_of_shape(draw: Draw, shape: Shape) -> Drawn:
    return draw.choice([lambda x: x + torch.ones_like(x), lambda x: x - torch.full_like(x, 0.3),
                        lambda x: x + x.new_ones(shape), lambda x: x + torch.zeros_like(x),
                        lambda x: x + x.new_full(shape, 2.0), lambda x: x - x.new_zeros(shape)])  # fmt: skip


# -- Lipschitz on bounded sets only -----------------------------------------------------------------------


@operator(1, STEEP)
def steep_function(draw: Draw, shape: Shape) -> Drawn:
    return draw.choice([torch.exp, torch.expm1, torch.exp2, torch.square, lambda x: torch.sqrt(x.abs() + 0.1),
                        lambda x: torch.log(x.abs() + 0.5), lambda x: torch.log1p(x.abs()), lambda x: x**3,
                        lambda x: torch.rsqrt(x.abs() + 0.2), lambda x: torch.reciprocal(x.abs() + 0.5),
                        lambda x: torch.log2(x.abs() + 0.5), lambda x: torch.log10(x.abs() + 0.5)])  # fmt: skip


@operator(2, STEEP)
def product(draw: Draw, shape: Shape, other: Shape) -> Drawn:
    return draw.choice([lambda x, y: x * fit(y, shape), lambda x, y: x / (fit(y, shape).abs() + 0.5),
                        lambda x, y: x * torch.sigmoid(x)])  # fmt: skip
