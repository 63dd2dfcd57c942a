"""Sliding windows: strides, dilations and the padding of either end, `auto_pad` made explicit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import InvalidModel
from .table import OnnxCall


@dataclass(frozen=True)
class Window:
    """One window an axis; `begin` and `end` are the zeros before and after each spatial axis."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    begin: list[int]
    end: list[int]

    @classmethod
    def of(cls, call: OnnxCall, kernel: Sequence[int], sizes: Sequence[int]) -> Window:
        """The window of a convolution or pooling node on a map of spatial `sizes`."""
        strides, dilations = _steps(call, len(kernel))
        totals = [
            max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
            for n, k, s, d in zip(sizes, kernel, strides, dilations, strict=True)
        ]
        begin, end = _ends(call, totals)
        return cls(list(kernel), strides, dilations, begin, end)

    @classmethod
    def transposed(cls, call: OnnxCall, kernel: Sequence[int], sizes: Sequence[int]) -> Window:
        """The window of a transposed convolution, whose padding crops the output."""
        strides, dilations = _steps(call, len(kernel))
        extra = call.attr("output_padding", [0] * len(kernel))
        full = [
            s * (n - 1) + e + d * (k - 1) + 1
            for n, k, s, d, e in zip(sizes, kernel, strides, dilations, extra, strict=True)
        ]
        wanted = call.attr("output_shape", None) or [n * s for n, s in zip(sizes, strides, strict=True)]
        totals = [f - w for f, w in zip(full, wanted[-len(kernel) :], strict=True)]
        if "output_shape" in call.attributes and call.attr("auto_pad", "NOTSET") == "NOTSET":
            larger = [total - total // 2 for total in totals]
            return cls(list(kernel), strides, dilations, larger, [total // 2 for total in totals])
        begin, end = _ends(call, totals)
        return cls(list(kernel), strides, dilations, begin, end)


def _steps(call: OnnxCall, rank: int) -> tuple[list[int], list[int]]:
    strides = list(call.attr("strides", [1] * rank))
    dilations = list(call.attr("dilations", [1] * rank))
    if len(strides) != rank or len(dilations) != rank or min(strides + dilations, default=1) < 1:
        raise InvalidModel(f"{call.place} has strides {strides} and dilations {dilations}.")
    return strides, dilations


def _ends(call: OnnxCall, same_totals: Sequence[int]) -> tuple[list[int], list[int]]:
    """Padding before and after; `same_totals` is what SAME needs, split with the odd one at the named end."""
    rank = len(same_totals)
    mode = call.attr("auto_pad", "NOTSET") or "NOTSET"
    if mode == "NOTSET":
        pads = list(call.attr("pads", [0] * 2 * rank))
        if len(pads) != 2 * rank or min(pads, default=0) < 0:
            raise InvalidModel(f"{call.place} has pads {pads}.")
        return pads[:rank], pads[rank:]
    if mode == "VALID":
        return [0] * rank, [0] * rank
    smaller = [total // 2 for total in same_totals]
    larger = [total - half for total, half in zip(same_totals, smaller, strict=True)]
    if mode == "SAME_UPPER":
        return smaller, larger
    if mode == "SAME_LOWER":
        return larger, smaller
    raise InvalidModel(f"{call.place} has auto_pad {mode!r}.")


def torch_pads(begin: Sequence[int], end: Sequence[int]) -> list[int]:
    """ONNX order (all begins, all ends, first axis first) to torch order (pairs, last axis first)."""
    return [size for pair in zip(reversed(begin), reversed(end), strict=True) for size in pair]
