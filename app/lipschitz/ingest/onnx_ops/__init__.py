"""ONNX operators as torch calls: one table, with onnx2torch's converters behind it."""

from onnx import NodeProto

from . import (  # noqa: F401  (importing fills the table)
    attention,
    classical,
    contrib,
    elementwise,
    generators,
    indexing,
    linear,
    movement,
    normalization,
    padding,
    pooling,
    quantization,
    recurrent,
    reduction,
    resize,
    spectra,
)
from .fallback import convert_and_run, has_converter
from .table import OPS, Op, key

CONTROL_FLOW = frozenset({"If", "Loop", "Scan"})
"""Operators that run graphs of their own."""


def supports(node: NodeProto, opset: int) -> bool:
    """Whether the node's operator can be captured (branches and loops when what steers them is constant)."""
    if node.domain not in ("", "ai.onnx"):
        return key(node) in OPS
    return node.op_type in OPS or node.op_type in CONTROL_FLOW or has_converter(node.op_type, opset)


def implementation(node: NodeProto) -> Op:
    """The table's entry, or onnx2torch's converter."""
    return OPS.get(key(node), convert_and_run)
