"""Borders: constant, reflected, repeated or cyclic."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ...errors import InvalidModel
from .table import OnnxCall, const, op
from .windows import torch_pads


@op("Pad")
def pad(call: OnnxCall) -> Tensor:
    """Constant, reflected, repeated or cyclic borders; negative pads crop."""
    x = call.tensor(0)
    pads = _all_axes(call, call.setting("pads", 1) or list(call.attr("paddings", [])), x.ndim)
    begin, end = pads[: x.ndim], pads[x.ndim :]
    call.bounded([n + b + e for n, b, e in zip(x.shape, begin, end, strict=True)])
    mode = call.attr("mode", "constant")
    if mode == "constant":
        return F.pad(x, torch_pads(begin, end), value=_pad_value(call))
    for axis in range(x.ndim):
        x = _border(x, axis, begin[axis], end[axis], mode)
    return x


def _all_axes(call: OnnxCall, pads: list[int], rank: int) -> list[int]:
    """Pads for every axis, from the chosen axes of operator set 18."""
    if not call.has(3):
        return pads
    axes = [axis % rank for axis in call.numbers(3)]
    full = [0] * 2 * rank
    for position, axis in enumerate(axes):
        full[axis], full[rank + axis] = pads[position], pads[len(axes) + position]
    return full


def _pad_value(call: OnnxCall) -> float | int:
    if call.opset < 11:
        return float(call.attr("value", 0.0))
    value: float | int = call.number(2) if call.has(2) else 0
    return value


def _border(x: Tensor, axis: int, begin: int, end: int, mode: str) -> Tensor:
    """One axis by the positions that its border copies from."""
    if begin == end == 0:
        return x
    n = x.shape[axis]
    period = max(2 * (n - 1), 1)
    fold = {
        "reflect": lambda i: min(i % period, period - i % period),
        "edge": lambda i: min(max(i, 0), n - 1),
        "wrap": lambda i: i % n,
    }
    if mode not in fold:
        raise InvalidModel(f"A Pad has mode {mode!r}.")
    return x.index_select(axis, const([fold[mode](i) for i in range(-begin, n + end)]))
