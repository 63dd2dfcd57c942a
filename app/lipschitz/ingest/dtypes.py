"""One vocabulary of element types: Open Inference names, with ONNX and torch on either side."""

from __future__ import annotations

import torch
from onnx import TensorProto

_ROWS: tuple[tuple[str, int, torch.dtype | None], ...] = (
    ("FP64", TensorProto.DOUBLE, torch.float64),
    ("FP32", TensorProto.FLOAT, torch.float32),
    ("FP16", TensorProto.FLOAT16, torch.float16),
    ("BF16", TensorProto.BFLOAT16, torch.bfloat16),
    ("INT64", TensorProto.INT64, torch.int64),
    ("INT32", TensorProto.INT32, torch.int32),
    ("INT16", TensorProto.INT16, torch.int16),
    ("INT8", TensorProto.INT8, torch.int8),
    ("UINT64", TensorProto.UINT64, torch.uint64),
    ("UINT32", TensorProto.UINT32, torch.uint32),
    ("UINT16", TensorProto.UINT16, torch.uint16),
    ("UINT8", TensorProto.UINT8, torch.uint8),
    ("BOOL", TensorProto.BOOL, torch.bool),
    ("BYTES", TensorProto.STRING, None),
)

FLOATING = frozenset({"FP64", "FP32", "FP16", "BF16"})
"""The datatypes that a Lipschitz constant speaks of."""

_FROM_ONNX = {code: name for name, code, _ in _ROWS}
_FROM_TORCH = {dtype: name for name, _, dtype in _ROWS if dtype is not None}
_TO_TORCH = {name: dtype for name, _, dtype in _ROWS if dtype is not None}


def from_onnx(code: int) -> str:
    """Open Inference name of a `TensorProto.DataType`, `UNKNOWN` for types that torch has no word for."""
    return _FROM_ONNX.get(code, "UNKNOWN")


def from_torch(dtype: torch.dtype) -> str:
    """Open Inference name of a torch dtype, `UNKNOWN` for quantised and complex ones."""
    return _FROM_TORCH.get(dtype, "UNKNOWN")


def to_torch(name: str) -> torch.dtype:
    """The torch dtype of an Open Inference name; KeyError where there is none."""
    return _TO_TORCH[name]
