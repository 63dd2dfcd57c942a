"""Operators that only move entries about: reshapes, slices, padding, concatenation, nearest upsampling, ...

The operator itself is run on the entries' positions (counted from 1), so every position of the result tells
which entry it came from; 0 tells a constant. One rule covers them all, whatever their arguments mean.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ...errors import UnsupportedOperator
from ...operators.gather import Gather
from ..builder import Builder
from ..call import Call, is_value
from ..values import Constant, Linear
from .table import only_dependent, rule

MOVEMENTS = (
    "view.default", "_unsafe_view.default", "reshape.default", "unsqueeze.default", "squeeze.default",
    "squeeze.dim", "squeeze.dims", "flatten.using_ints", "permute.default", "transpose.int", "t.default",
    "slice.Tensor", "select.int", "index.Tensor", "index_select.default", "gather.default",
    "narrow.default", "expand.default", "repeat.default", "tile.default", "flip.default", "roll.default",
    "constant_pad_nd.default", "reflection_pad1d.default", "reflection_pad2d.default",
    "reflection_pad3d.default", "replication_pad1d.default", "replication_pad2d.default",
    "replication_pad3d.default", "upsample_nearest1d.default", "upsample_nearest2d.default",
    "upsample_nearest3d.default", "_upsample_nearest_exact1d.default", "_upsample_nearest_exact2d.default",
    "_upsample_nearest_exact3d.default", "upsample_nearest1d.vec", "upsample_nearest2d.vec",
    "upsample_nearest3d.vec", "pixel_shuffle.default", "pixel_unshuffle.default", "channel_shuffle.default",
    "split.Tensor", "split_with_sizes.default", "chunk.default", "unbind.int", "unfold.default",
    "im2col.default", "diagonal.default", "tril.default", "triu.default", "movedim.int",
    "cat.default", "stack.default", "slice_scatter.default", "select_scatter.default",
    "index_put.default", "rot90.default", "as_strided.default", "hstack.default", "vstack.default",
    "take.default", "copy.default", "_reshape_alias.default", "view_copy.default", "expand_copy.default",
    "repeat_interleave.self_int",
)  # fmt: skip

CHOICES = ("where.self", "where.ScalarSelf", "where.ScalarOther", "masked_fill.Scalar", "masked_fill.Tensor")
"""Of two entries one, by a mask that no input reaches."""

IDENTITIES = (
    "clone.default", "alias.default", "detach.default", "contiguous.default", "lift_fresh_copy.default",
    "lift_fresh.default", "positive.default", "dropout.default",
)  # fmt: skip


@rule(*IDENTITIES)
def identity(_builder: Builder, call: Call) -> Linear:
    return only_dependent(call)


@rule("_to_copy.default", "to.dtype")
def cast(_builder: Builder, call: Call) -> Linear:
    """A cast within the real numbers is the identity; one to integers or booleans is a step function."""
    value = only_dependent(call)
    dtype = call.arguments["dtype"]
    if dtype is not None and not dtype.is_floating_point:
        raise UnsupportedOperator(f"{call.place} casts to {dtype}: a step function has no finite constant")
    return value


@rule("zeros_like.default", "ones_like.default", "full_like.default", "empty_like.default",
      "new_zeros.default", "new_ones.default", "new_full.default", "new_empty.default")  # fmt: skip
def constant_like(builder: Builder, call: Call) -> Constant:
    """Only the shape of the dependent tensor matters."""
    return Constant(call.run(Linear.offset))


@rule(*MOVEMENTS, *CHOICES)
def move(builder: Builder, call: Call) -> Any:
    """Find by trial where every entry of the result comes from, and gather it from there."""
    values = list(dict.fromkeys(call.linears()))
    _check_plain(call)
    joined = values[0] if len(values) == 1 else builder.stack(values, call.origin)
    starts = dict(zip(values, _starts(values), strict=True))

    def positions(value: Linear) -> Tensor:
        first = starts[value] + 1
        return torch.arange(first, first + value.operator.out_size, dtype=torch.float64).reshape(value.shape)

    def offsets(value: Linear) -> Tensor:
        flat = joined.offset().reshape(-1)
        return flat[starts[value] : starts[value] + value.operator.out_size].reshape(value.shape)

    places, moved = call.run(positions, **_without_fill(call)), call.run(offsets)
    sources = pytree.tree_leaves(places)
    shifts = pytree.tree_leaves(moved)
    results = [_gathered(call, joined, source, shift) for source, shift in zip(sources, shifts, strict=True)]
    return results[0] if isinstance(places, Tensor) else tuple(results)


def _starts(values: list[Linear]) -> list[int]:
    sizes = [value.operator.out_size for value in values]
    return [sum(sizes[:position]) for position in range(len(sizes))]


def _gathered(call: Call, value: Linear, positions: Tensor, offset: Tensor) -> Linear:
    """The entries at some positions; those at position 0 are constants that the call writes."""
    unsure = [float(constant.radius.max()) for constant in call.constants() if constant.radius is not None]
    written = positions == 0.0
    radius = torch.where(written, max(unsure), 0.0) if unsure else None
    return value.then(_gather(value, positions), offset, None, 0, Constant(torch.where(written, offset, 0.0), radius))


def _gather(value: Linear, positions: Tensor) -> Gather:
    index = positions.reshape(-1).long() - 1
    return Gather(value.shape, tuple(positions.shape), index)


CONTENT = frozenset({"tensors", "src", "values", "input", "other", "value"})
"""Arguments that hold entries (as against indices, masks and sizes)."""

FILLED = frozenset(f"aten.{name}" for name in ("constant_pad_nd.default", *CHOICES))
"""Operators that write a number of the call's into their result."""


def _without_fill(call: Call) -> dict[str, Any]:
    """Constants that the operator writes into its result must read as position 0."""
    content = {key: argument for key, argument in call.arguments.items() if key in CONTENT}
    zeroed: dict[str, Any] = pytree.tree_map(_zero_if_constant, content, is_leaf=is_value)
    return zeroed | without_numbers(call)


def without_numbers(call: Call) -> dict[str, Any]:
    """The numbers that the operator writes into its result, as zeros."""
    if call.name not in FILLED:
        return {}
    given = {key: call.arguments.get(key) for key in ("value", "input", "other")}
    return {key: 0.0 for key, argument in given.items() if isinstance(argument, int | float)}


def _zero_if_constant(leaf: Any) -> Any:
    return Constant(torch.zeros_like(leaf.value)) if isinstance(leaf, Constant) else leaf


def _check_plain(call: Call) -> None:
    if call.arguments.get("accumulate"):
        raise UnsupportedOperator(f"{call.place} accumulates: only plain assignment has a rule")
    if any(isinstance(call.arguments.get(key), Linear) for key in ("index", "mask", "indices", "condition")):
        raise UnsupportedOperator(f"{call.place} has an index that depends on the input")
