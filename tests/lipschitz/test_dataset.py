"""Data sets are read without pickle, fit the model or are refused, and rows serve as centres."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
import torch

from app.lipschitz.artifact.captured import TensorSpec
from app.lipschitz.dataset import Dataset
from app.lipschitz.errors import InvalidRequest
from app.lipschitz.files import analyze
from tests.lipschitz.onnx_networks import mlp, published

IMAGE = (TensorSpec("x", "FP32", (1, 2, 3, 4)),)
TWO = (TensorSpec("a", "FP32", (1, 2)), TensorSpec("b", "FP32", (1, 3)))


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize("shape", [(5, 24), (5, 2, 3, 4), (5, 1, 2, 3, 4)], ids=str)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "uint8", ">i4"])
def test_rows_are_flat_or_shaped_like_the_input(shape: tuple[int, ...], dtype: str) -> None:
    stored = np.arange(120).reshape(shape).astype(dtype)
    for data in (npy(stored), npy(np.asfortranarray(stored)), npz(inputs=stored)):
        found = Dataset.read(data, IMAGE)
        assert found.inputs.dtype == torch.float64
        assert found.inputs.tolist() == np.arange(120.0).reshape(5, 24).tolist()
        assert found.labels is None


def test_labels_and_several_inputs() -> None:
    found = Dataset.read(npz(inputs=np.ones((2, 5)), labels=np.array([3, 1], np.uint8)), TWO)
    assert (len(found), found.labels.tolist(), found.row(1).tolist()) == (2, [3, 1], [1.0] * 5)
    with pytest.raises(InvalidRequest, match="rows 0 to 1, not 2"):
        found.row(2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (npy(np.ones((2, 4, 3, 2))), r"rows of shape \[4, 3, 2\] do not fit the model: x \[1, 2, 3, 4\], or 24 flat"),
        (npy(np.ones((2, 23))), "do not fit"),
        (npy(np.ones(24)), "need rows"),
        (npy(np.ones((0, 24))), "need rows"),
        (npy(np.ones((2, 24), complex)), "real numbers"),
        (npy(np.array([[{}] * 24], dtype=object)), "cannot be read"),
        (pickle.dumps([1]), "cannot be read"),
        (b"", "cannot be read"),
        (npz(x=np.ones((2, 24))), "no array `inputs`"),
        (npz(inputs=np.ones((2, 24)), labels=np.ones(3, int)), "one whole number a row"),
        (npz(inputs=np.ones((2, 24)), labels=np.ones(2)), "one whole number a row"),
        (npy(np.where(np.arange(48).reshape(2, 24) == 30, np.nan, 0.0)), "row 1 of the data set holds NaN"),
        (npy(np.where(np.arange(48).reshape(2, 24) == 3, -np.inf, 0.0)), "row 0 of the data set holds NaN"),
    ],
)
def test_refusals(data: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        Dataset.read(data, IMAGE)


def test_a_row_is_the_centre_of_a_ball() -> None:
    model = mlp(*published("exlipbab_iris"))
    rows = np.array([[0.0, 0, 0, 0], [0.5, 0.1, -0.3, 0.2]])
    ball = {"kind": "ball", "radius": 0.01}
    fields = {"methods": ["autolip"], "domain": ball | {"center": "dataset#1"}}
    by_row = analyze(model, fields, dataset=npy(rows))["result"]["upper"]["value"]
    by_numbers = analyze(model, {"methods": ["autolip"], "domain": ball | {"center": rows[1].tolist()}})
    assert by_row == by_numbers["result"]["upper"]["value"]
    for center, data, message in (
        ("dataset#2", npy(rows), "rows 0 to 1"),
        ("dataset#1", None, "names no data set"),
        ("dataset", npy(rows), "should match pattern"),
        ("dataset#-1", npy(rows), "should match pattern"),
    ):
        with pytest.raises(InvalidRequest, match=message):
            analyze(model, {"domain": ball | {"center": center}}, dataset=data)
