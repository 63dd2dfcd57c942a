"""Maxima over windows or axes, and sorting: every row of a Jacobian selects one entry.

The p-norm of such a selection depends only on how often one entry can be selected: at most as many times as
windows that hold it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ...operators.base import Shape
from ...operators.norm import Norm
from ..builder import Builder
from ..call import Call
from ..nodes import nondecreasing
from ..values import Linear
from .affine import per_dimension, spatial_dims
from .table import only_dependent, rule


def selection_constants(copies: int) -> dict[Norm, float]:
    """Norms of a 0/1 matrix with one 1 a row and at most `copies` in a column."""
    root = math.sqrt(copies)
    return {
        "1": float(copies),
        "2": root if root * root == copies else math.nextafter(root, math.inf),
        "inf": 1.0,
    }


@rule("max_pool2d_with_indices.default", "max_pool3d_with_indices.default", "max_pool1d.default",
      "max_pool2d.default", "max_pool3d.default")  # fmt: skip
def max_pool(builder: Builder, call: Call) -> tuple[Linear, ...] | Linear:
    """Max pooling; windows may overlap."""
    pooled = _pool(builder, call, _overlap(call), partial(_windows, call))
    return (pooled,) if "with_indices" in call.name else pooled


@rule("adaptive_max_pool2d.default", "adaptive_max_pool3d.default")
def adaptive_max_pool(builder: Builder, call: Call) -> tuple[Linear, ...]:
    """Adaptive max pooling: window j covers floor(j n/m) up to ceil((j+1) n/m)."""
    value, sizes = only_dependent(call), call.arguments["output_size"]
    lengths = value.shape[len(value.shape) - len(sizes) :]
    copies = [_adaptive_overlap(n, m) for n, m in zip(lengths, sizes, strict=True)]
    return (_pool(builder, call, math.prod(copies)),)


def _pool(builder: Builder, call: Call, copies: int, windows: Callable[[Shape, Shape], Tensor] | None = None) -> Linear:
    value = only_dependent(call)
    first = _first(call.run(Linear.offset))
    shape = value.shape

    def pool(x: Tensor) -> Tensor:
        merged = x.reshape(-1, *shape[1:]) if len(shape) > spatial_dims(call) + 1 else x
        return _first(call.run(lambda _: merged))

    constants, out = selection_constants(copies), tuple(first.shape)
    places = None if windows is None else windows(shape, out)
    return builder.nonlinear(
        value, out, pool, constants, "pooling", origin=call.origin, enclosure=nondecreasing, extreme=1, windows=places
    )


def _windows(call: Call, shape: Shape, out: Shape) -> Tensor:
    """The positions that every value is the maximum of, `(k, m)`; one outside the tensor is its window's first inside.

    Tap t of window j is at stride j + dilation t - padding along each axis; every window has one inside.
    """
    dims = spatial_dims(call)
    size = per_dimension(call.arguments["kernel_size"], dims)
    stride = per_dimension(call.arguments["stride"] or size, dims)
    padding, dilation = (per_dimension(call.arguments[name], dims) for name in ("padding", "dilation"))
    at = torch.zeros(1, 1, dtype=torch.int64)
    for n, m, k, s, p, d in zip(shape[-dims:], out[-dims:], size, stride, padding, dilation, strict=True):
        along = s * torch.arange(m) + d * torch.arange(k)[:, None] - p
        inside = (along >= 0) & (along < n)
        first = along.gather(0, inside.int().argmax(0, keepdim=True))
        along = torch.where(inside, along, first)
        at = (at[:, None, :, None] * n + along[None, :, None, :]).reshape(at.shape[0] * k, at.shape[1] * m)
    maps = torch.arange(math.prod(shape[:-dims]))[:, None] * math.prod(shape[-dims:])
    return (maps + at[:, None]).flatten(1)


def _overlap(call: Call) -> int:
    """Largest number of windows that share an entry: the product over dimensions."""
    dims = spatial_dims(call)
    size = per_dimension(call.arguments["kernel_size"], dims)
    stride = per_dimension(call.arguments["stride"] or size, dims)
    dilation = per_dimension(call.arguments["dilation"], dims)
    return math.prod(_shared(k, s, d) for k, s, d in zip(size, stride, dilation, strict=True))


def _shared(k: int, s: int, d: int) -> int:
    """Windows start at multiples of s and read d apart: taps of one residue modulo s / gcd(s, d)."""
    return math.ceil(k / (s // math.gcd(s, d)))


def _adaptive_overlap(n: int, m: int) -> int:
    covered = torch.zeros(n, dtype=torch.int64)
    for j in range(m):
        covered[j * n // m : -(-(j + 1) * n // m)] += 1
    return int(covered.max())


def _first(result: Tensor | tuple[Tensor, ...]) -> Tensor:
    return result if isinstance(result, Tensor) else result[0]


@rule("amax.default", "amin.default", "max.default", "min.default", "max.dim", "min.dim")
def extremum_over_axes(builder: Builder, call: Call) -> tuple[Linear, ...] | Linear:
    """The largest or smallest entry along some axes."""
    value = only_dependent(call)
    dims = call.arguments.get("dim")
    axes = list(range(len(value.shape))) if dims in (None, []) else ([dims] if isinstance(dims, int) else list(dims))
    keepdim = bool(call.arguments.get("keepdim", False))
    reduce = torch.amax if "max" in call.name else torch.amin
    if not value.shape:  # torch takes the one entry of a tensor without dimensions for an axis
        return (value,) if call.name.endswith(".dim") else value
    batched = [axis + 1 if axis >= 0 else axis for axis in axes]
    shape = tuple(_first(call.run(Linear.offset)).shape)
    constants, extreme = selection_constants(1), 1 if reduce is torch.amax else -1
    node = builder.nonlinear(
        value,
        shape,
        lambda x: reduce(x, batched, keepdim),
        constants,
        "pooling",
        origin=call.origin,
        enclosure=nondecreasing,
        extreme=extreme,
    )
    return (node,) if call.name.endswith(".dim") else node


@rule("cummax.default", "cummin.default")
def running_extremum(builder: Builder, call: Call) -> tuple[Linear, ...]:
    """The largest or smallest entry so far: one entry may be chosen as often as there are places."""
    value = only_dependent(call)
    if not value.shape:
        return (value,)
    axis = int(call.arguments["dim"]) % len(value.shape)

    def function(x: Tensor) -> Tensor:
        return _first(call.run(lambda _: x, dim=axis + 1))

    constants = selection_constants(value.shape[axis])
    return (
        builder.nonlinear(
            value, value.shape, function, constants, "pooling", origin=call.origin, enclosure=nondecreasing
        ),
    )


@rule("sort.default", "sort.stable", "topk.default")
def sort(builder: Builder, call: Call) -> tuple[Linear, ...]:
    """Sorted entries: near every point with distinct entries a selection without repeats."""
    value = only_dependent(call)
    shape = tuple(_first(call.run(Linear.offset)).shape)
    function = _sorted(call, value.shape)
    constants = selection_constants(1)
    node = builder.nonlinear(value, shape, function, constants, "pooling", origin=call.origin, enclosure=nondecreasing)
    return (node,)


def _sorted(call: Call, shape: Shape) -> Callable[[Tensor], Tensor]:
    axis = call.arguments["dim"] % max(len(shape), 1) + 1
    return lambda x: _first(call.run(lambda _: x, dim=axis))
