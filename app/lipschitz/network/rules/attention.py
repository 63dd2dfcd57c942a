"""Scaled dot-product attention, taken apart: two matrix products around a softmax."""

from __future__ import annotations

import math

from ...errors import UnsupportedOperator
from .. import constants
from ..builder import Builder
from ..call import Call
from ..values import Linear
from .product import entries, matrix_product, scaled
from .softmax import softmax_over
from .table import rule


@rule("_scaled_dot_product_flash_attention_for_cpu.default")
def attention(builder: Builder, call: Call) -> tuple[Linear]:
    """softmax(Q K^T / sqrt(d)) V for `(batch, heads, n, d)`; masked, causal and constant operands have no rule."""
    query, key, value = (call.arguments[name] for name in ("query", "key", "value"))
    if call.arguments["attn_mask"] is not None or call.arguments["is_causal"] or call.arguments["dropout_p"]:
        raise UnsupportedOperator(f"{call.place} with a mask or dropout has no rule")
    if not all(isinstance(operand, Linear) for operand in (query, key, value)):
        raise UnsupportedOperator(f"{call.place} with a constant operand has no rule")
    given = call.arguments["scale"]
    factor = constants.exact(1.0 / math.sqrt(query.shape[-1]) if given is None else float(given))
    turned = entries(key, key.positions().mT)
    logits = matrix_product(builder, call.origin, scaled(query, factor, call.origin), turned)
    weights = softmax_over(builder, call, logits, -1)
    return (matrix_product(builder, call.origin, weights, value),)
