"""One line out of the multi-line messages that torch, onnx and onnxruntime raise."""

from __future__ import annotations


def _lines(error: BaseException) -> list[str]:
    return [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]


def first_line(error: BaseException) -> str:
    """Where the reason comes first: onnx, onnxruntime, torch operators."""
    return _lines(error)[0]


def last_line(error: BaseException) -> str:
    """Where a traceback comes first: the TorchScript interpreter."""
    return _lines(error)[-1]
