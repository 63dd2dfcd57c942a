"""Operators that pick entries by position."""

from __future__ import annotations

import torch
from torch import Tensor

from ...artifact import dtypes
from ...errors import InvalidModel
from ..onnx_dtypes import from_onnx
from .table import OnnxCall, axis_of, const, op


@op("Slice")
def slice_axes(call: OnnxCall) -> Tensor:
    """start:end:step on chosen axes; a negative step flips the axis first."""
    x = call.tensor(0)
    starts, ends = call.setting("starts", 1) or [], call.setting("ends", 2) or []
    axes = call.setting("axes", 3) or list(range(len(starts)))
    steps = call.setting("steps", 4) or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        x = _slice(x, axis % x.ndim, slice(start, end, step))
    return x


def _slice(x: Tensor, axis: int, piece: slice) -> Tensor:
    chosen = range(*_clamped(piece).indices(x.shape[axis]))
    if chosen.step > 0:
        return x[(slice(None),) * axis + (slice(chosen.start, max(chosen.stop, chosen.start), chosen.step),)]
    last = x.shape[axis] - 1
    flipped = slice(last - chosen.start, last - chosen.stop, -chosen.step)
    return x.flip(axis)[(slice(None),) * axis + (flipped,)]


def _clamped(piece: slice) -> slice:
    """ONNX writes 'to the very beginning' for a negative step as a huge negative end, as Python does."""
    if piece.step == 0:
        raise InvalidModel("A Slice has step zero.")
    return piece


@op("Gather")
def gather(call: OnnxCall) -> Tensor:
    """Entries along an axis by index; negative indices count from the end."""
    x, indices = call.tensor(0), call.tensor(1)
    axis = axis_of(call, x.ndim)
    if not call.is_known(1):
        chosen = x.index_select(axis, indices.reshape(-1))
        return chosen.reshape(x.shape[:axis] + indices.shape + x.shape[axis + 1 :])
    positions = [int(index) % x.shape[axis] if -x.shape[axis] <= index < x.shape[axis] else -1
                 for index in call.numbers(1)]  # fmt: skip
    if -1 in positions:
        raise InvalidModel(f"{call.place} reaches outside its tensor.")
    if indices.ndim == 0:
        return x.select(axis, positions[0])
    chosen = x.index_select(axis, const(positions))
    return chosen if indices.ndim == 1 else chosen.reshape(x.shape[:axis] + indices.shape + x.shape[axis + 1 :])


@op("GatherElements")
def gather_elements(call: OnnxCall) -> Tensor:
    """torch.gather; negative indices count from the end."""
    x, indices = call.tensor(0), call.tensor(1)
    axis = axis_of(call, x.ndim)
    return x.gather(axis, torch.where(indices < 0, indices + x.shape[axis], indices))


@op("OneHot")
def one_hot(call: OnnxCall) -> Tensor:
    """Rows of off-values with one on-value; indices count from the end when negative."""
    indices, depth, values = call.tensor(0), int(call.number(1)), call.tensor(2)
    call.bounded([indices.numel(), depth])
    axis = call.attr("axis", -1)
    axis = axis + indices.ndim + 1 if axis < 0 else axis
    hot = indices.remainder(depth).unsqueeze(axis) == torch.arange(depth).reshape([-1] + [1] * (indices.ndim - axis))
    return torch.where(hot, values[1], values[0])


@op("GatherND")
def gather_nd(call: OnnxCall) -> Tensor:
    """Slices addressed by the last axis of the indices; negative indices count from the end."""
    if call.attr("batch_dims", 0):
        raise call.refuse("batch_dims")
    return call.tensor(0)[_addresses(call.tensor(1))]


@op("ScatterND")
def scatter_nd(call: OnnxCall) -> Tensor:
    """Slices replaced by updates."""
    if call.attr("reduction", "none") != "none":
        raise call.refuse("reduction")
    return torch.index_put(call.tensor(0), _addresses(call.tensor(1)), call.tensor(2))


def _addresses(indices: Tensor) -> tuple[Tensor, ...]:
    return tuple(indices.select(-1, position) for position in range(indices.shape[-1]))


@op("EyeLike")
def identity_like(call: OnnxCall) -> Tensor:
    """Ones on a diagonal, in the shape of a matrix."""
    x, k = call.tensor(0), call.attr("k", 0)
    dtype = dtypes.to_torch(from_onnx(call.attr("dtype"))) if "dtype" in call.attributes else x.dtype
    rows, columns = torch.arange(x.shape[0]).unsqueeze(1), torch.arange(x.shape[1])
    diagonal: Tensor = columns - rows == k
    return diagonal.to(dtype)


@op("ScatterElements")
def scatter_elements(call: OnnxCall) -> Tensor:
    """Entries replaced along an axis; negative indices count from the end."""
    if call.attr("reduction", "none") != "none":
        raise call.refuse("reduction")
    x, indices = call.tensor(0), call.tensor(1)
    axis = axis_of(call, x.ndim)
    return x.scatter(axis, torch.where(indices < 0, indices + x.shape[axis], indices), call.tensor(2))
