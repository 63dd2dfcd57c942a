"""Upsample and Resize: nearest neighbours as a selection of entries, linear and cubic by torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .table import OnnxCall, const, op

Coordinate = Callable[[int, float, int, int], float]

COORDINATES: dict[str, Coordinate] = {
    "half_pixel": lambda i, scale, _old, _new: (i + 0.5) / scale - 0.5,
    "pytorch_half_pixel": lambda i, scale, _old, new: (i + 0.5) / scale - 0.5 if new > 1 else 0.0,
    "align_corners": lambda i, _scale, old, new: i * (old - 1) / (new - 1) if new > 1 else 0.0,
    "tf_half_pixel_for_nn": lambda i, scale, _old, _new: (i + 0.5) / scale,
    "asymmetric": lambda i, scale, _old, _new: i / scale,
}

ROUNDINGS: dict[str, Callable[[float], int]] = {
    "round_prefer_floor": lambda x: math.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: math.floor(x + 0.5),
    "floor": math.floor,
    "ceil": math.ceil,
}

LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


@op("Upsample")
def upsample(call: OnnxCall) -> Tensor:
    """The predecessor of Resize: coordinates i / scale, rounded down."""
    scales = list(call.attributes["scales"]) if "scales" in call.attributes else call.numbers(1)
    return _resample(call, scales, None, mode=call.attr("mode", "nearest"), transform="asymmetric", rounding="floor")


@op("Resize")
def resize(call: OnnxCall) -> Tensor:
    """By scales (input 2; input 1 in operator set 10) or to sizes (input 3)."""
    if call.opset < 11:
        return _resample(
            call, call.numbers(1), None, mode=call.attr("mode", "nearest"), transform="asymmetric", rounding="floor"
        )
    if call.attr("antialias", 0) or call.attr("exclude_outside", 0):
        raise call.refuse("antialias and exclude_outside")
    if call.attr("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise call.refuse("keep_aspect_ratio_policy")
    scales = _on_all_axes(call, call.numbers(2) if call.has(2) else [], [1.0] * call.tensor(0).ndim)
    sizes = _on_all_axes(call, call.numbers(3), list(call.tensor(0).shape)) if call.has(3) else None
    transform = call.attr("coordinate_transformation_mode", "half_pixel")
    rounding = call.attr("nearest_mode", "round_prefer_floor")
    return _resample(call, scales, sizes, mode=call.attr("mode", "nearest"), transform=transform, rounding=rounding)


def _on_all_axes(call: OnnxCall, given: list[Any], others: list[Any]) -> list[Any]:
    """What is given for the axes that the node names, with `others` for the rest."""
    if not given or "axes" not in call.attributes:
        return given
    for axis, number in zip(call.attributes["axes"], given, strict=True):
        others[axis] = number
    return others


def _resample(
    call: OnnxCall, scales: list[float], sizes: list[int] | None, *, mode: str, transform: str, rounding: str
) -> Tensor:
    x = call.tensor(0)
    if sizes is None:
        sizes = [math.floor(n * s) for n, s in zip(x.shape, scales, strict=True)]
    if not scales:
        scales = [new / old for new, old in zip(sizes, x.shape, strict=True)]
    call.bounded(sizes)
    if transform not in COORDINATES:
        raise call.refuse(f"coordinate_transformation_mode {transform!r}")
    if mode == "nearest":
        return _nearest(x, scales, sizes, COORDINATES[transform], ROUNDINGS[rounding])
    return _interpolated(call, scales, sizes, mode, transform)


def _nearest(
    x: Tensor, scales: list[float], sizes: list[int], coordinate: Coordinate, rounding: Callable[[float], int]
) -> Tensor:
    for axis, (scale, new) in enumerate(zip(scales, sizes, strict=True)):
        old = x.shape[axis]
        places = [rounding(coordinate(i, scale, old, new)) for i in range(new)]
        if places != list(range(old)):
            x = x.index_select(axis, const([min(max(place, 0), old - 1) for place in places]))
    return x


def _interpolated(call: OnnxCall, scales: list[float], sizes: list[int], mode: str, transform: str) -> Tensor:
    x = call.tensor(0)
    rank = x.ndim - 2
    if rank not in LINEAR or sizes[:2] != list(x.shape[:2]):
        return _linear_matrices(call, scales, sizes, mode, transform)
    if transform not in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        return _linear_matrices(call, scales, sizes, mode, transform)
    exact_scales = all(new == old * s for new, old, s in zip(sizes, x.shape, scales, strict=True))
    if mode == "linear" and (exact_scales or transform == "align_corners"):
        return F.interpolate(x, sizes[2:], mode=LINEAR[rank], align_corners=transform == "align_corners")
    if mode == "cubic" and rank == 2 and call.attr("cubic_coeff_a", -0.75) == -0.75 and exact_scales:
        return F.interpolate(x, sizes[2:], mode="bicubic", align_corners=transform == "align_corners")
    return _linear_matrices(call, scales, sizes, mode, transform)


def _linear_matrices(call: OnnxCall, scales: list[float], sizes: list[int], mode: str, transform: str) -> Tensor:
    """One matrix of interpolation weights an axis, for coordinates that torch does not offer."""
    if mode != "linear":
        raise call.refuse(f"mode {mode!r} with {transform!r}")
    x = call.tensor(0)
    for axis, (scale, new) in enumerate(zip(scales, sizes, strict=True)):
        old = x.shape[axis]
        places = [min(max(COORDINATES[transform](i, scale, old, new), 0.0), old - 1.0) for i in range(new)]
        if places != list(range(old)):
            rows = [[max(0.0, 1.0 - abs(place - j)) for j in range(old)] for place in places]
            x = torch.tensordot(x, const(rows, x.dtype), dims=([axis], [1])).movedim(-1, axis)
    return x
