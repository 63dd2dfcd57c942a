"""When two steps of captured graphs compute the same in real arithmetic, whatever the format writes them as."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx

from ..artifact.graphs import unsupported

aten = torch.ops.aten

RESHAPES = frozenset(
    (
        aten.reshape.default, aten.view.default, aten._unsafe_view.default, aten.flatten.using_ints,
        aten.squeeze.dim, aten.squeeze.default, aten.squeeze.dims, aten.unsqueeze.default,
    )
)  # fmt: skip
"""Entries keep their order: the shape says all."""
ROOT = "root"
"""In the `meta` of a reshape: what was reshaped first, the way there being of no account."""
COPIES = frozenset((aten.clone.default, aten.alias.default, aten.detach.default))
SOFTMAXES = frozenset((aten._softmax.default, aten._log_softmax.default))


def same_value(tensor: Tensor) -> tuple[object, ...]:
    """Equal for tensors of one type and shape with the same numbers, bit by bit."""
    data = tensor.detach().cpu().contiguous()
    entries = data.reshape(-1).view(torch.uint8).numpy().tobytes() if data.numel() else b""
    return str(data.dtype), tuple(data.shape), hashlib.sha256(entries).hexdigest()


def step_key(node: fx.Node, args: Any, kwargs: Mapping[str, Any]) -> object:
    """What names a step on these operands: equal for equal steps. An operand itself where the step changes nothing.

    None for what is like nothing else.
    """
    if node.target is unsupported:
        return None
    shape = node.meta.get("shape")
    if node.target in COPIES and not kwargs:
        return args[0]
    if node.target in RESHAPES and shape is not None:
        root = args[0].meta.get(ROOT, args[0])
        return root if root.meta.get("shape") == shape else ("reshape", root, shape)
    return _plain(node.target, args, kwargs)


def _plain(target: Any, args: Any, kwargs: Mapping[str, Any]) -> object:
    """The call itself, with the settings of speed left out and axes counted from the front."""
    if target is aten._convolution.default:
        target, args = aten.convolution.default, args[:9]
    if target is aten.transpose.int and len(args[0].meta.get("shape", ())) == 2 and (args[1] - args[2]) % 2:
        target, args = aten.t.default, args[:1]
    if target in SOFTMAXES and args[0].meta.get("shape"):
        args = (args[0], args[1] % len(args[0].meta["shape"]), *args[2:])
    named = tuple(sorted((name, _hashable(value)) for name, value in kwargs.items()))
    return target, _hashable(args), named


def _hashable(value: Any) -> object:
    """Lists as tuples, numbers with their type: 1, 1.0 and True are different settings."""
    if isinstance(value, list | tuple):
        return tuple(_hashable(one) for one in value)
    return value if isinstance(value, fx.Node) else (type(value).__name__, repr(value))
