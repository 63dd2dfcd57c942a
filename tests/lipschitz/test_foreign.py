"""Files that are no model are told what they are, and which command exports one; no more than their head is read."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import zipfile
from collections.abc import Iterable

import numpy as np
import pytest
import torch

from app.advice import ADVICE, command_advice
from app.lipschitz import foreign
from app.lipschitz.errors import NotAModel
from app.lipschitz.formats import detect
from app.worker.warmup import tiny_model


def safetensors() -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(4)


def zipped(names: Iterable[str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return buffer.getvalue()


def saved(legacy: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save({"fc.weight": torch.zeros(2, 2)}, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


FOREIGN = {
    "state dict": (saved(legacy=False), "load_state_dict"),
    "old state dict": (saved(legacy=True), "load_state_dict"),
    "safetensors": (safetensors(), "optimum-cli export onnx"),
    "keras h5": (b"\x89HDF\r\n\x1a\n" + bytes(100), ".export('model.onnx', format='onnx')"),
    "keras": (zipped(["config.json", "metadata.json", "model.weights.h5"]), ".export('model.onnx', format='onnx')"),
    "joblib": (pickle.dumps({"sklearn.linear_model": 1}), "skl2onnx"),
    "pickle": (pickle.dumps({"a": 1}), "torch.onnx.export"),
    "saved model": (zipped(["net/saved_model.pb", "net/variables/variables.index"]), "--saved-model"),
    "saved_model.pb": (b"\x08\x01\x12\xb1\x05\x0a\x10" + bytes(100), "--saved-model"),
    "frozen graph": (b"\x0a\x20\x0a\x01x\x12\x0bPlaceholder*" + bytes(100), "--graphdef"),
    "tflite": (b"\x1c\x00\x00\x00TFL3" + bytes(100), "--tflite"),
    "gguf": (b"GGUF\x03\x00\x00\x00" + bytes(100), "optimum-cli export onnx"),
    "trees": (b'{"learner":{"attributes":{}}}', "no finite Lipschitz constant"),
    "lightgbm": (b"tree\nversion=v4\n", "no finite Lipschitz constant"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
    "web page": (b"\n<!DOCTYPE html><html>", "web page"),
    "compressed": (b"\x1f\x8b\x08" + bytes(100), "unpack it"),
    "compressed pickle": (gzip.compress(pickle.dumps({"a": 1})), "skl2onnx"),
    "numpy": (array(), "/v1/datasets"),
    "openvino": (b'<?xml version="1.0"?>\n<net name="m">', "ONNX file that it was made from"),
    "onnxruntime": (b"\x1c\x00\x00\x00ORTM" + bytes(100), "ONNX file that it was made from"),
    "core ml": (zipped(["m.mlpackage/Data/com.apple.CoreML/model.mlmodel"]), "Core ML"),
    "compiled": (zipped(["m/archive_format", "m/data/aotinductor/model.so"]), "torch.export.save"),
    "empty": (b"", "empty"),
    "text": (b"hello", "neither ONNX"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_each_kind_has_its_sentence(name: str) -> None:
    data, words = FOREIGN[name]
    with pytest.raises(NotAModel) as caught:
        detect(io.BytesIO(data))
    assert words in caught.value.detail


def test_a_model_is_none_of_them() -> None:
    assert foreign.known(tiny_model(), 10**9) is None


class Counting(io.BytesIO):
    """Notes how much is read of it."""

    count = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data


def test_no_more_than_the_head_is_read() -> None:
    file = Counting(safetensors() + bytes(10**7))
    with pytest.raises(NotAModel, match="safetensors"):
        detect(file)
    assert file.count < 2 * foreign.HEAD


@pytest.mark.parametrize(
    ("detail", "option"),
    [
        ("TorchScript stores no input shapes: give inputs=[[1, 3, H, W]] for 'x'.", "--shape x=1,3,H,W"),
        (
            'Give its shape: inputs={"input.1": [1, height]} with numbers for the open sizes.',
            "--shape input.1=1,height",
        ),
        ("2 shapes were given for 1 inputs.", "--shape x=1,784"),
    ],
)
def test_the_next_step_is_in_the_words_of_the_command_line(detail: str, option: str) -> None:
    assert option in command_advice("urn:lipserve:problem:invalid-inputs", detail)
    assert command_advice("too-large", "") == ADVICE["too-large"]
