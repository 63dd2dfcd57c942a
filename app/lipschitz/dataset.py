"""A data set: rows of inputs, with labels or without, as the methods use them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .artifact.captured import TensorSpec
from .errors import InvalidRequest


@dataclass(frozen=True, eq=False)
class Dataset:
    """`inputs` `(S, n)`, flat, float64 and finite; `labels` `(S,)`, int64."""

    inputs: Tensor
    labels: Tensor | None

    def __len__(self) -> int:
        return len(self.inputs)

    @classmethod
    def read(cls, data: bytes, inputs: tuple[TensorSpec, ...]) -> Dataset:
        """The data set in an npy or npz file, never unpickled, as rows for a model with those inputs.

        A row is flat, or has the shape of the model's one input, where sizes of 1 may be left out. InvalidRequest
        where the file cannot be read, rows do not fit, values are not finite, or labels do not match the rows.
        """
        stored, labels = _arrays(data)
        if stored.ndim < 2 or not len(stored):
            raise InvalidRequest(f"the data set's inputs need rows, not the shape {_shown(stored.shape)}")
        _check_rows(stored.shape[1:], inputs)
        rows = torch.as_tensor(_real(stored, "inputs").astype(np.float64).reshape(len(stored), -1))
        finite = torch.isfinite(rows).all(1)
        if not bool(finite.all()):
            raise InvalidRequest(f"row {int(finite.long().argmin())} of the data set holds NaN or infinity")
        device = torch.get_default_device()
        return cls(rows.to(device), None if labels is None else _labels(labels, len(rows)).to(device))

    def row(self, index: int) -> Tensor:
        """One row, `(n,)`; InvalidRequest where there is none."""
        if not 0 <= index < len(self):
            raise InvalidRequest(f"the data set has the rows 0 to {len(self) - 1}, not {index}")
        return self.inputs[index]


def _arrays(data: bytes) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None]:
    """Inputs and labels as stored."""
    try:
        loaded = np.load(io.BytesIO(data), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded, None
        with loaded:
            return loaded["inputs"], loaded["labels"] if "labels" in loaded.files else None
    except KeyError as cause:
        raise InvalidRequest("the data set has no array `inputs`") from cause
    except Exception as cause:  # numpy and zipfile do not say what they may raise on damaged files
        raise InvalidRequest(f"the data set cannot be read: {cause}") from cause


def _check_rows(row: tuple[int, ...], inputs: tuple[TensorSpec, ...]) -> None:
    size = sum(torch.Size(spec.shape).numel() for spec in inputs)
    if row == (size,) or (len(inputs) == 1 and _long(row) == _long(inputs[0].shape)):
        return
    shapes = ", ".join(f"{spec.name} {_shown(spec.shape)}" for spec in inputs)
    raise InvalidRequest(f"the data set's rows of shape {_shown(row)} do not fit the model: {shapes}, or {size} flat")


def _long(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _shown(shape: tuple[int, ...]) -> str:
    return str(list(shape))


def _real(stored: np.ndarray[Any, Any], name: str) -> np.ndarray[Any, Any]:
    if stored.dtype.kind not in "fiu":
        raise InvalidRequest(f"the data set's {name} are of type {stored.dtype}: real numbers are needed")
    return stored


def _labels(stored: np.ndarray[Any, Any], rows: int) -> Tensor:
    if stored.shape != (rows,) or stored.dtype.kind not in "iu":
        raise InvalidRequest(f"the data set needs one whole number a row as label, not {_shown(stored.shape)}")
    return torch.as_tensor(stored.astype(np.int64))
