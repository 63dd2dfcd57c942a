"""Every size in a graph, computed by torch's own shape rules on tensors without memory, before anything is run."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.node import map_arg
from torch.utils import _pytree as pytree

from ..errors import InvalidArtifact
from . import records
from .graphs import operator_name, unevaluable

MAX_TOTAL = 1 << 32
"""Entries of all intermediate tensors together."""

MASKED = frozenset({"aten.index.Tensor", "aten._unsafe_index.Tensor"})
"""Operators whose result's size depends on a mask's values: counted as if every entry of the mask were chosen."""

UNKNOWN_SIZE = frozenset({"aten.nonzero.default", "aten.masked_select.default", "aten.repeat_interleave.Tensor",
                          "aten._local_scalar_dense.default"})  # fmt: skip
"""Operators whose result's size depends on values and is at most what the graph states, which running it checks."""


def check_sizes(graph: fx.GraphModule, inputs: Sequence[tuple[int, ...]]) -> None:
    """Raise InvalidArtifact where a tensor is too large, not of the shape stated, or narrower than float64."""
    shapes = iter(inputs)
    values: dict[fx.Node, Any] = {}
    unknown, total = unevaluable(graph), 0
    for node in graph.graph.nodes:
        if node.op == "output":
            return
        values[node] = _value(graph, node, values, shapes, unknown)
        for tensor in pytree.tree_leaves(values[node]):
            if isinstance(tensor, Tensor):
                total += _checked_size(tensor)
        if total > MAX_TOTAL:
            raise InvalidArtifact(f"The captured graph computes more than {MAX_TOTAL} numbers.")


def _checked_size(tensor: Tensor) -> int:
    if tensor.numel() > records.MAX_ELEMENTS or tensor.ndim > records.MAX_AXES:
        raise InvalidArtifact(f"A tensor of shape {list(tensor.shape)} is too large.")
    if tensor.is_complex() or (tensor.is_floating_point() and tensor.dtype != torch.float64):
        raise InvalidArtifact(f"The captured graph computes in {tensor.dtype}.")
    return tensor.numel()


def _value(graph: fx.GraphModule, node: fx.Node, values: dict[fx.Node, Any], shapes: Any, unknown: set[fx.Node]) -> Any:
    stated = node.meta.get("shape")
    if node.op == "placeholder":
        value: Any = _empty(next(shapes))
    elif node.op == "get_attr":
        value = getattr(graph, str(node.target)).to("meta")
    elif node in unknown:
        value = None if stated is None else _empty(stated)
    else:
        value = _result(node, values)
    shape = tuple(value.shape) if isinstance(value, Tensor) else None
    if shape != stated:
        raise InvalidArtifact(f"'{node.name}' is {shape}, where the graph states {stated}.")
    return value


def _result(node: fx.Node, values: dict[fx.Node, Any]) -> Any:
    name, stated = operator_name(node), node.meta.get("shape")
    args: Any = map_arg(node.args, values.__getitem__)
    kwargs: Any = map_arg(node.kwargs, values.__getitem__)
    if name in UNKNOWN_SIZE:
        return _of_unknown_size(name, stated, args[0])
    if name in MASKED and any(_is_mask(index) for index in args[1]):
        _checked_size(node.target(args[0], _all_chosen(args[1])))  # type: ignore[operator]
        return _empty(stated or ()).to(args[0].dtype)
    if node.target is operator.getitem and not isinstance(args[0], list | tuple):
        raise InvalidArtifact("An item is one numbered result of an operator.")
    assert callable(node.target)
    return node.target(*args, **_on_meta(node, kwargs))


def _on_meta(node: fx.Node, kwargs: dict[str, Any]) -> dict[str, Any]:
    """New tensors are made without memory, too."""
    assert isinstance(node.target, torch._ops.OpOverload) or not kwargs
    schema = getattr(node.target, "_schema", None)
    if schema is not None and any(argument.name == "device" for argument in schema.arguments):
        return {**kwargs, "device": torch.device("meta")}
    return kwargs


def _of_unknown_size(name: str, stated: tuple[int, ...] | None, source: Tensor) -> Any:
    if name == "aten._local_scalar_dense.default":
        return 0
    dtype = torch.int64 if name == "aten.nonzero.default" else source.dtype
    return torch.empty(stated or (), dtype=dtype, device="meta")


def _is_mask(index: Any) -> bool:
    return isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8)


def _all_chosen(indices: Sequence[Any]) -> list[Any]:
    chosen: list[Any] = []
    for index in indices:
        if _is_mask(index):
            chosen += [torch.empty(index.numel(), dtype=torch.int64, device="meta")] * index.ndim
        else:
            chosen.append(index)
    return chosen


def _empty(shape: Sequence[int]) -> Tensor:
    return torch.empty(tuple(shape), dtype=torch.float64, device="meta")
