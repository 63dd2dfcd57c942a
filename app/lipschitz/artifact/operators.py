"""The ATen operators that an artifact may call: those with a rule, and those that only constants are made with.

A name is looked up in this list and nowhere else: an artifact cannot reach any other function.
"""

from __future__ import annotations

from functools import cache

import torch
from torch._ops import OpOverload

from ..catalog import OPERATORS

OF_CONSTANTS = (
    "_linalg_solve_ex.default", "_local_scalar_dense.default", "_softmax.default", "_to_copy.default",
    "_unsafe_index.Tensor", "_weight_norm_interface.default", "acos.default", "acosh.default", "all.default",
    "all.dim", "any.default", "any.dim", "arange.default", "arange.start", "arange.start_step", "argsort.default",
    "asin.default", "asinh.default", "atan2.default", "atanh.default", "bitwise_and.Tensor", "bitwise_not.default",
    "bitwise_or.Tensor", "bitwise_xor.Tensor", "cosh.default", "cumsum.default", "diag_embed.default", "dot.default",
    "empty.memory_format", "eq.Scalar", "eq.Tensor", "erfinv.default", "eye.default", "eye.m", "fill.Scalar",
    "fill.Tensor", "floor_divide.default", "fmod.Tensor", "full.default", "index_add.default", "index_copy.default",
    "index_fill.int_Scalar", "isfinite.default", "isinf.default", "isnan.default", "lerp.Scalar", "lerp.Tensor",
    "linalg_householder_product.default", "linalg_inv_ex.default", "linalg_matrix_exp.default", "linspace.default",
    "logical_and.default", "logical_not.default", "logical_or.default", "logical_xor.default", "masked_fill.Scalar",
    "masked_fill.Tensor", "masked_select.default", "meshgrid.indexing", "nan_to_num.default", "nonzero.default",
    "ones.default", "outer.default", "polar.default", "pow.Scalar", "prod.default", "prod.dim_int",
    "remainder.Tensor", "repeat_interleave.Tensor", "repeat_interleave.self_int", "scalar_tensor.default",
    "scatter.src", "scatter.value", "scatter_add.default", "sinh.default", "slice_scatter.default", "sort.default",
    "sort.stable", "std.correction", "std.dim", "tril_indices.default", "triu_indices.default", "true_divide.Tensor",
    "var.correction", "var.dim", "var_mean.correction", "vdot.default", "where.Scalar", "where.ScalarOther",
    "where.ScalarSelf", "where.self", "zeros.default",
)  # fmt: skip
"""Operators that prepare weights, masks and positions inside a graph, where no input reaches."""

NAMES = frozenset({info.operator for info in OPERATORS} | {f"aten.{name}" for name in OF_CONSTANTS})


@cache
def overload(name: str) -> OpOverload | None:
    """The operator of that name; None for one that is not on the list, is random, or writes to its operands."""
    if name not in NAMES:
        return None
    _, packet, kind = name.split(".")
    operator: OpOverload = getattr(getattr(torch.ops.aten, packet), kind)
    is_random = torch.Tag.nondeterministic_seeded in operator.tags
    return None if is_random or operator._schema.is_mutable else operator
