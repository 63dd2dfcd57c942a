"""Scaled dot-product attention, taken apart: two matrix products around a softmax."""

from __future__ import annotations

import math

from app.lipschitz.errors import UnsupportedOperator
from app.lipschitz.network import constants
from app.lipschitz.network.builder import Builder
from app.lipschitz.network.call import Call
from app.lipschitz.network.rules.product import entries, matrix_product, scaled
from app.lipschitz.network.rules.softmax import softmax_over
from app.lipschitz.network.rules.table import rule
from app.lipschitz.network.values import Linear


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
