"""Operators that move, repeat or drop whole axes of a tensor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...errors import InvalidModel
from .table import OnnxCall, axis_of, op


@op("Identity")
def identity(call: OnnxCall) -> Tensor:
    return call.tensor(0)


@op("Dropout")
def dropout(call: OnnxCall) -> tuple[Tensor, Tensor]:
    """The tensor itself and an all-true mask; the training form is random and refused."""
    if call.has(2) and call.number(2):
        raise call.refuse("training mode is random: call model.eval() before the export")
    x = call.tensor(0)
    return x, torch.ones_like(x, dtype=torch.bool)


@op("Reshape")
def reshape(call: OnnxCall) -> Tensor:
    """New shape; 0 copies the old size unless `allowzero`, -1 is what remains."""
    x, wanted = call.tensor(0), call.setting("shape", 1) or []
    if not call.attr("allowzero", 0):
        wanted = [_copied(x, axis, call) if size == 0 else size for axis, size in enumerate(wanted)]
    return x.reshape(wanted)


def _copied(x: Tensor, axis: int, call: OnnxCall) -> int:
    if axis >= x.ndim:
        raise InvalidModel(f"{call.place} copies the size of axis {axis}, which its input lacks.")
    return x.shape[axis]


@op("Flatten")
def flatten(call: OnnxCall) -> Tensor:
    """A matrix: axes before `axis` times axes from `axis` on."""
    x = call.tensor(0)
    axis = axis_of(call, x.ndim, 1)
    rows = 1
    for extent in x.shape[:axis]:
        rows *= extent
    return x.reshape(rows, -1)


@op("Squeeze")
def squeeze(call: OnnxCall) -> Tensor:
    """Drop axes of size one: the named ones, or all."""
    x, axes = call.tensor(0), call.setting("axes", 1)
    return x.squeeze() if axes is None else x.squeeze(tuple(axes))


@op("Unsqueeze")
def unsqueeze(call: OnnxCall) -> Tensor:
    """Insert axes of size one, counted in the result."""
    x, axes = call.tensor(0), call.setting("axes", 1) or []
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


@op("Transpose")
def transpose(call: OnnxCall) -> Tensor:
    """Axes in a new order, reversed by default."""
    x = call.tensor(0)
    return x.permute(list(call.attr("perm", range(x.ndim - 1, -1, -1))))


@op("Concat")
def concatenate(call: OnnxCall) -> Tensor:
    """End to end along an axis."""
    tensors = call.tensors()
    return torch.cat(tensors, axis_of(call, tensors[0].ndim, 1))


@op("Split")
def split(call: OnnxCall) -> Sequence[Tensor]:
    """Pieces of given sizes, or as many equal ones as there are outputs (the last may be smaller)."""
    x = call.tensor(0)
    axis, pieces = axis_of(call, x.ndim), call.setting("split", 1)
    if pieces is not None:
        return torch.split(x, pieces, axis)
    count = call.attr("num_outputs", len(call.node.output))
    return torch.split(x, -(-x.shape[axis] // count), axis)


@op("Expand")
def expand(call: OnnxCall) -> Tensor:
    """Broadcast with a shape."""
    x = call.tensor(0)
    shape = np.broadcast_shapes(tuple(x.shape), tuple(call.numbers(1)))
    return x.expand(call.bounded(shape))


@op("Tile")
def tile(call: OnnxCall) -> Tensor:
    """Copies along each axis."""
    x, copies = call.tensor(0), call.numbers(1)
    call.bounded([extent * count for extent, count in zip(x.shape, copies, strict=True)])
    return x.repeat(copies)


@op("DepthToSpace")
def depth_to_space(call: OnnxCall) -> Tensor:
    """Channels to blocks of the image."""
    x, b = call.tensor(0), call.attr("blocksize")
    if call.attr("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, b)
    n, c, h, w = x.shape
    return x.reshape(n, b, b, c // b**2, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c // b**2, h * b, w * b)


@op("SpaceToDepth")
def space_to_depth(call: OnnxCall) -> Tensor:
    """Blocks of the image to channels."""
    x, b = call.tensor(0), call.attr("blocksize")
    n, c, h, w = x.shape
    return x.reshape(n, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4).reshape(n, c * b**2, h // b, w // b)


@op("Trilu")
def triangle(call: OnnxCall) -> Tensor:
    """The upper or lower triangle."""
    diagonal = int(call.number(1)) if call.has(1) else 0
    x = call.tensor(0)
    return x.triu(diagonal) if call.attr("upper", 1) else x.tril(diagonal)
