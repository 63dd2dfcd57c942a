"""Reductions over axes."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from .table import OPS, OnnxCall, axis_of, op

Reduction = Callable[[Tensor, list[int], bool], Tensor]


def _mean(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.mean(axes, keepdim=keep)


def _sum(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.sum(axes, keepdim=keep)


def _prod(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


REDUCTIONS: dict[str, Reduction] = {
    "ReduceMean": _mean,
    "ReduceSum": _sum,
    "ReduceProd": _prod,
    "ReduceMax": lambda x, axes, keep: x.amax(axes, keepdim=keep),
    "ReduceMin": lambda x, axes, keep: x.amin(axes, keepdim=keep),
    "ReduceL1": lambda x, axes, keep: _sum(x.abs(), axes, keep),
    "ReduceL2": lambda x, axes, keep: torch.linalg.vector_norm(x, 2, axes, keepdim=keep),
    "ReduceSumSquare": lambda x, axes, keep: _sum(x.square(), axes, keep),
    "ReduceLogSum": lambda x, axes, keep: torch.log(_sum(x, axes, keep)),
    "ReduceLogSumExp": lambda x, axes, keep: torch.logsumexp(x, axes, keepdim=keep),
}


def _reduce(reduction: Reduction, call: OnnxCall) -> Tensor:
    x = call.tensor(0)
    axes = call.setting("axes", 1)
    if not axes:
        if call.attr("noop_with_empty_axes", 0):
            return x
        axes = list(range(x.ndim))
    return reduction(x, axes, bool(call.attr("keepdims", 1)))


OPS.update({name: functools.partial(_reduce, reduction) for name, reduction in REDUCTIONS.items()})


@op("ArgMax")
def argmax(call: OnnxCall) -> Tensor:
    """Position of the maximum."""
    return _position(call, torch.argmax)


@op("ArgMin")
def argmin(call: OnnxCall) -> Tensor:
    """Position of the minimum."""
    return _position(call, torch.argmin)


def _position(call: OnnxCall, search: Callable[..., Tensor]) -> Tensor:
    if call.attr("select_last_index", 0):
        raise call.refuse("ties resolved to the last position")
    x = call.tensor(0)
    return search(x, axis_of(call, x.ndim), keepdim=bool(call.attr("keepdims", 1)))


@op("TopK")
def top_k(call: OnnxCall) -> tuple[Tensor, Tensor]:
    """The k largest or smallest entries and their positions."""
    x = call.tensor(0)
    k = call.attr("k") if "k" in call.attributes else call.number(1)
    largest, in_order = bool(call.attr("largest", 1)), bool(call.attr("sorted", 1))
    values, positions = torch.topk(x, k, axis_of(call, x.ndim, -1), largest, in_order)
    return values, positions


@op("CumSum")
def cumulative_sum(call: OnnxCall) -> Tensor:
    """Running sum along an axis, forwards or backwards, with or without the entry itself."""
    x, axis = call.tensor(0), int(call.number(1))
    if call.attr("reverse", 0):
        x = x.flip(axis)
    y = torch.cumsum(x, axis)
    if call.attr("exclusive", 0):
        y = y - x
    return y.flip(axis) if call.attr("reverse", 0) else y
