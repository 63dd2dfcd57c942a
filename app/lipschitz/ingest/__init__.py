"""Bytes in, one graph of ATen operators out: ONNX, TorchScript and torch.export alike."""

from .pipeline import capture, capture_artifact, inspect

__all__ = ["capture", "capture_artifact", "inspect"]
