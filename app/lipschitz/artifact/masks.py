"""Infinite numbers among the stored ones: a mask or an absent limit may hold them, a weight may not."""

from __future__ import annotations

import torch
from torch import Tensor, fx

from .graphs import operator_name

MASKING = frozenset(
    {"aten.add.Tensor", "aten.where.self", "aten.where.ScalarSelf", "aten.where.ScalarOther", "aten.masked_fill.Tensor",
     "aten.clamp.Tensor", "aten.clamp_min.Tensor", "aten.clamp_max.Tensor", "aten.maximum.default",
     "aten.minimum.default"}
)  # fmt: skip
"""Operators that add a mask, choose it, or take it as a limit."""

PASSING = frozenset(
    {"aten.reshape.default", "aten.view.default", "aten.expand.default", "aten.slice.Tensor", "aten.select.int",
     "aten.unsqueeze.default", "aten.squeeze.default", "aten.squeeze.dim", "aten.squeeze.dims", "aten.permute.default",
     "aten.transpose.int", "aten.t.default", "aten.repeat.default", "aten.clone.default", "aten._to_copy.default",
     "aten.index.Tensor", "aten.cat.default"}
)  # fmt: skip
"""Operators that move a mask's entries."""


def is_broken(tensor: Tensor, node: fx.Node) -> bool:
    """Whether the stored tensor at `node` holds NaN, or infinity where that is no mask."""
    if not tensor.is_floating_point() or not tensor.numel():
        return False
    ends = torch.stack(torch.aminmax(tensor.detach()))
    return bool(ends.isnan().any()) or (bool(ends.isinf().any()) and not _is_mask(node))


def _is_mask(node: fx.Node) -> bool:
    pending, seen = [node], {node}
    while pending:
        for user in pending.pop().users:
            name = operator_name(user)
            if name in PASSING and user not in seen:
                seen.add(user)
                pending.append(user)
            elif name not in MASKING and name not in PASSING:
                return False
    return True
