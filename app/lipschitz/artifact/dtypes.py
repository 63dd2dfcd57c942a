"""One vocabulary of element types: Open Inference names for torch's."""

from __future__ import annotations

import torch

_TO_TORCH = {
    "FP64": torch.float64,
    "FP32": torch.float32,
    "FP16": torch.float16,
    "BF16": torch.bfloat16,
    "INT64": torch.int64,
    "INT32": torch.int32,
    "INT16": torch.int16,
    "INT8": torch.int8,
    "UINT64": torch.uint64,
    "UINT32": torch.uint32,
    "UINT16": torch.uint16,
    "UINT8": torch.uint8,
    "BOOL": torch.bool,
}

FLOATING = frozenset({"FP64", "FP32", "FP16", "BF16"})
"""The datatypes that a Lipschitz constant speaks of."""

UNKNOWN = "UNKNOWN"
"""Quantised and complex types, and whatever else has no word."""

_FROM_TORCH = {dtype: name for name, dtype in _TO_TORCH.items()}


def from_torch(dtype: torch.dtype) -> str:
    """Open Inference name of a torch dtype, `UNKNOWN` for quantised and complex ones."""
    return _FROM_TORCH.get(dtype, UNKNOWN)


def to_torch(name: str) -> torch.dtype:
    """The torch dtype of an Open Inference name; KeyError where there is none."""
    return _TO_TORCH[name]
