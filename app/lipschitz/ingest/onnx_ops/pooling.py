"""Maxima and averages over sliding windows and over the whole map."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .table import OnnxCall, op
from .windows import Window, torch_pads

MAXIMA: dict[int, Callable[..., Tensor]] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVERAGES: dict[int, Callable[..., Tensor]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


@op("MaxPool")
def max_pool(call: OnnxCall) -> Tensor:
    """Maximum over windows; what lies outside the map never counts."""
    x, window = call.tensor(0), _window(call)
    pool = MAXIMA[len(window.kernel)]
    wanted = _sizes(window, x.shape[2:], bool(call.attr("ceil_mode", 0)))
    if all(2 * p <= k for p, k in zip(window.begin, window.kernel, strict=True)):
        same_begin = Window(window.kernel, window.strides, window.dilations, window.begin, window.begin)
        for ceil_mode in (False, True):
            if _sizes(same_begin, x.shape[2:], ceil_mode) == wanted:
                return pool(x, window.kernel, window.strides, window.begin, window.dilations, ceil_mode=ceil_mode)
    reach = _reach(window, x.shape[2:], wanted)
    padded = F.pad(x, torch_pads(window.begin, reach), value=-math.inf)
    return pool(padded, window.kernel, window.strides, 0, window.dilations)


@op("AveragePool")
def average_pool(call: OnnxCall) -> Tensor:
    """Mean over windows; padding counts only when `count_include_pad` is set."""
    x, window = call.tensor(0), _window(call)
    if max(window.dilations) > 1:
        raise call.refuse("dilated averages")
    include, ceil_mode = bool(call.attr("count_include_pad", 0)), bool(call.attr("ceil_mode", 0))
    pool = AVERAGES[len(window.kernel)]
    wanted = _sizes(window, x.shape[2:], ceil_mode)
    plain = window.begin == window.end and wanted == _sizes(window, x.shape[2:], ceil_mode=False)
    if plain and all(2 * p <= k for p, k in zip(window.begin, window.kernel, strict=True)):
        return pool(x, window.kernel, window.strides, window.begin, count_include_pad=include)
    reach = _reach(window, x.shape[2:], wanted)
    sums = pool(F.pad(x, torch_pads(window.begin, reach)), window.kernel, window.strides)
    share = _counted_share(window, x, reach, include)
    return sums / pool(share, window.kernel, window.strides)


def _counted_share(window: Window, x: Tensor, reach: Sequence[int], include: bool) -> Tensor:
    """Ones where an entry counts, zeros where not, `(1, 1, ...)`; its window means are the shares counted."""
    end = [min(e, r) for e, r in zip(window.end, reach, strict=True)]
    rest = [r - e for r, e in zip(reach, end, strict=True)]
    counted = F.pad(torch.ones(1, 1, *x.shape[2:], dtype=x.dtype), torch_pads(window.begin, end), value=float(include))
    return F.pad(counted, torch_pads([0] * len(rest), rest))


@op("LpPool")
def norm_pool(call: OnnxCall) -> Tensor:
    """The 1- or 2-norm of windows; zeros around the map change neither."""
    x, window, order = call.tensor(0), _window(call), call.attr("p", 2)
    if order not in (1, 2) or set(window.dilations) != {1} or call.attr("ceil_mode", 0):
        raise call.refuse("norms but 1 and 2, dilations and ceil_mode")
    powers = F.pad(x.abs() if order == 1 else x.square(), torch_pads(window.begin, window.end))
    pooled = AVERAGES[len(window.kernel)](powers, window.kernel, window.strides) * float(math.prod(window.kernel))
    return pooled if order == 1 else pooled.sqrt()


@op("GlobalLpPool")
def global_norm_pool(call: OnnxCall) -> Tensor:
    """The norm of each whole map."""
    x = call.tensor(0)
    norms: Tensor = torch.linalg.vector_norm(x, call.attr("p", 2), list(range(2, x.ndim)), keepdim=True)
    return norms


@op("GlobalAveragePool")
def global_average(call: OnnxCall) -> Tensor:
    """Mean over all spatial axes, which stay with size one."""
    x = call.tensor(0)
    return x.mean(list(range(2, x.ndim)), keepdim=True)


@op("GlobalMaxPool")
def global_maximum(call: OnnxCall) -> Tensor:
    """Maximum over all spatial axes, which stay with size one."""
    x = call.tensor(0)
    return x.amax(list(range(2, x.ndim)), keepdim=True)


def _window(call: OnnxCall) -> Window:
    kernel = list(call.attr("kernel_shape", []))
    if len(kernel) not in MAXIMA or len(kernel) != call.tensor(0).ndim - 2:
        raise call.refuse(f"kernel {kernel} on a tensor of {call.tensor(0).ndim} axes")
    if call.attr("storage_order", 0):
        raise call.refuse("column-major indices")
    return Window.of(call, kernel, call.tensor(0).shape[2:])


def _sizes(window: Window, sizes: Sequence[int], ceil_mode: bool) -> list[int]:
    """Windows on each axis; with `ceil_mode` the last may run over the end if it starts before it."""
    counts = []
    for axis, n in enumerate(sizes):
        k, s, d = window.kernel[axis], window.strides[axis], window.dilations[axis]
        begin, end = window.begin[axis], window.end[axis]
        room = n + begin + end - d * (k - 1) - 1
        count = (-(-room // s) if ceil_mode else room // s) + 1
        if ceil_mode and (count - 1) * s >= n + begin:
            count -= 1
        counts.append(count)
    return counts


def _reach(window: Window, sizes: Sequence[int], counts: Sequence[int]) -> list[int]:
    """Padding after each axis that the last window needs; negative where it does not reach the end."""
    return [
        (count - 1) * s + d * (k - 1) + 1 - n - begin
        for n, count, k, s, d, begin in zip(
            sizes, counts, window.kernel, window.strides, window.dilations, window.begin, strict=True
        )
    ]
