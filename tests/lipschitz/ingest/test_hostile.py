"""Damaged and foreign files: a refusal, never another exception."""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.lipschitz.errors import InvalidModel, LipschitzError, NotAModel, TooLarge
from app.lipschitz.formats import detect
from app.lipschitz.ingest import capture, inspect
from tests.effort import examples
from tests.lipschitz.ingest.onnx_models import mlp

MODEL = mlp()


def zipped(**entries: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


@given(st.integers(0, len(MODEL) - 1))
@examples(60)
def test_truncations(length: int) -> None:
    try:
        capture(MODEL[:length])
    except LipschitzError:
        return


@given(st.lists(st.tuples(st.integers(0, len(MODEL) - 1), st.integers(0, 255)), min_size=1, max_size=8))
@examples(150)
def test_byte_flips(flips: list[tuple[int, int]]) -> None:
    data = bytearray(MODEL)
    for position, value in flips:
        data[position] = value
    try:
        capture(bytes(data))
    except LipschitzError:
        return


@given(st.binary(max_size=200))
@examples(100)
def test_noise(data: bytes) -> None:
    with pytest.raises(LipschitzError):
        inspect(data)


def test_foreign_files_are_told() -> None:
    array = io.BytesIO()
    np.save(array, np.zeros(3))
    with pytest.raises(NotAModel, match="NumPy"):
        detect(io.BytesIO(array.getvalue()))
    with pytest.raises(NotAModel, match="pickle"):
        detect(io.BytesIO(pickle.dumps({"a": 1})))
    with pytest.raises(NotAModel, match="empty"):
        detect(io.BytesIO(b""))
    with pytest.raises(NotAModel, match=r"torch\.save"):
        detect(io.BytesIO(zipped(m__data__pkl=b"", **{"m/data.pkl": b"x"})))
    with pytest.raises(NotAModel, match="neither"):
        detect(io.BytesIO(zipped(readme=b"hello")))


def test_formats_by_content() -> None:
    assert detect(io.BytesIO(MODEL)) == "onnx"
    assert detect(io.BytesIO(zipped(**{"m/constants.pkl": b"", "m/code/a.py": b""}))) == "torchscript"
    assert detect(io.BytesIO(zipped(**{"m/archive_format": b"pt2", "m/models/model.json": b"{}"}))) == "torch_export"
    assert detect(io.BytesIO(zipped(**{"serialized_exported_program.json": b"{}"}))) == "torch_export"


def test_archives_that_unpack_to_too_much() -> None:
    bomb = zipped(**{"m/constants.pkl": bytes(100_000), "m/code/a.py": b""})
    assert len(bomb) < 1000
    with pytest.raises(TooLarge, match="unpacks to"):
        detect(io.BytesIO(bomb), max_unpacked=50_000)


def test_archives_that_only_look_right() -> None:
    with pytest.raises(InvalidModel, match="cannot be loaded"):
        inspect(zipped(**{"m/constants.pkl": b"x", "m/code/a.py": b"x"}))
    with pytest.raises(InvalidModel, match="cannot be loaded"):
        inspect(zipped(**{"m/archive_format": b"pt2", "m/models/model.json": b"{}"}))
