"""Stored ONNX tensors as arrays and torch tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor

from ..errors import InvalidModel, UnsupportedOperator

NIBBLES = (TensorProto.INT4, TensorProto.UINT4)
"""Four-bit integers, which numpy and torch hold as bytes."""

_HALF_BYTE = (*NIBBLES, TensorProto.FLOAT4E2M1)


def stored_bytes(tensor: TensorProto, count: int) -> int:
    """What `count` entries of the tensor's type take in a file; raises InvalidModel for types that none has."""
    if tensor.data_type in _HALF_BYTE:
        return (count + 1) // 2
    try:
        return count * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    except KeyError as error:
        raise InvalidModel(f"Tensor '{tensor.name}' has an unknown element type {tensor.data_type}.") from error


def to_array(tensor: TensorProto) -> np.ndarray[Any, np.dtype[Any]]:
    """The tensor's values; raises InvalidModel where they cannot be read."""
    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, RuntimeError, IndexError) as error:
        raise InvalidModel(f"Tensor '{tensor.name}' cannot be read: {error}.") from error


def to_torch(tensor: TensorProto) -> Tensor:
    """A copy of the tensor's values; raises UnsupportedOperator for element types that torch lacks."""
    array = to_array(tensor)
    if tensor.data_type == TensorProto.BFLOAT16:
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    if tensor.data_type in NIBBLES:
        return torch.from_numpy(array.astype(np.int8))
    try:
        return torch.from_numpy(array.copy())
    except TypeError as error:
        kind = TensorProto.DataType.Name(tensor.data_type)
        raise UnsupportedOperator(f"Tensor '{tensor.name}' has elements of type {kind}.") from error
