"""Open Inference names of ONNX element types."""

from __future__ import annotations

from onnx import TensorProto

from ..artifact.dtypes import UNKNOWN

_FROM_ONNX: dict[int, str] = {
    TensorProto.DOUBLE: "FP64",
    TensorProto.FLOAT: "FP32",
    TensorProto.FLOAT16: "FP16",
    TensorProto.BFLOAT16: "BF16",
    TensorProto.INT64: "INT64",
    TensorProto.INT32: "INT32",
    TensorProto.INT16: "INT16",
    TensorProto.INT8: "INT8",
    TensorProto.UINT64: "UINT64",
    TensorProto.UINT32: "UINT32",
    TensorProto.UINT16: "UINT16",
    TensorProto.UINT8: "UINT8",
    TensorProto.BOOL: "BOOL",
    TensorProto.STRING: "BYTES",
}


def from_onnx(code: int) -> str:
    """Open Inference name of a `TensorProto.DataType`, `UNKNOWN` for types that torch has no word for."""
    return _FROM_ONNX.get(code, UNKNOWN)
