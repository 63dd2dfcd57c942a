"""Files that are often taken for models, each with a sentence that says what it is and how to export one from it."""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

HEAD = 4096
"""Bytes of a file's beginning that are looked at."""
MAX_SAFETENSORS_HEADER = 100_000_000

KNOWN = "The file is neither ONNX, nor TorchScript, nor a torch.export archive."
TORCH = (
    "build the module in Python, load the weights into it (`module.load_state_dict(torch.load(PATH))`), call "
    "`module.eval()`, then `torch.onnx.export(module, (example_input,), 'model.onnx')`"
)
HUB = "`optimum-cli export onnx --model REPOSITORY FOLDER`"
KERAS = "`keras.models.load_model(PATH).export('model.onnx', format='onnx')`"
TF = "`python -m tf2onnx.convert"
TREES = (
    "An ensemble of trees is constant between its splits and jumps at them, so it has no finite Lipschitz constant: "
    "there is nothing to export."
)
UNPACK = "unpack it and send the model's file, or send a folder as .zip, .tar or .tar.gz"
GZIP = b"\x1f\x8b"
COMPRESSED = f"The file is compressed (gzip; .tar.gz, joblib): {UNPACK}."


@dataclass(frozen=True)
class Kind:
    """Files that `is_it` recognises by their first bytes and their size; `sentence` is what their senders are told."""

    is_it: Callable[[bytes, int], bool]
    sentence: str


def of_bytes(head: bytes, size: int) -> str:
    """What a file is that begins with `head` and is neither a zip archive nor a model."""
    return known(head, size) or (COMPRESSED if head.startswith(GZIP) else KNOWN)


def known(head: bytes, size: int) -> str | None:
    """The sentence about a file that begins with `head`, or with that compressed; None where that tells nothing."""
    if head.startswith(GZIP):
        head, size = _inside(head), sys.maxsize
    return next((kind.sentence for kind in KINDS if kind.is_it(head, size)), None)


def _inside(head: bytes) -> bytes:
    """The beginning of what a gzip file holds."""
    try:
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(head, HEAD)
    except zlib.error:
        return b""


def of_entries(names: Sequence[str]) -> str:
    """What a zip archive with entries of these names is, where it is no model."""
    leaves = {name.rstrip("/").rpartition("/")[2] for name in names}
    return next((sentence for entry, sentence in ENTRIES if any(map(re.compile(entry).fullmatch, leaves))), NO_ARCHIVE)


def _begins(*magic: bytes) -> Callable[[bytes, int], bool]:
    return lambda head, _size: head.startswith(magic)


def _at(position: int, magic: bytes) -> Callable[[bytes, int], bool]:
    return lambda head, _size: head[position : position + len(magic)] == magic


def _holds(magic: tuple[bytes, ...], *words: bytes) -> Callable[[bytes, int], bool]:
    return lambda head, _size: head.startswith(magic) and any(word in head for word in words)


def _is_safetensors(head: bytes, size: int) -> bool:
    length = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and length <= min(size - 8, MAX_SAFETENSORS_HEADER)


def _is_saved_model(head: bytes, _size: int) -> bool:
    """SavedModel.saved_model_schema_version (1) = 1, then its first MetaGraphDef (2), with its MetaInfoDef (1)."""
    return re.match(rb"\x08\x01\x12[\x80-\xff]{0,9}[\x00-\x7f]\x0a", head) is not None


def _is_graph_def(head: bytes, _size: int) -> bool:
    """GraphDef.node (1) with the NodeDef's name (1) and operator (2)."""
    return re.match(rb"\x0a[\x80-\xff]{0,4}[\x00-\x7f]\x0a.[\w./-]+\x12.[A-Z]\w+", head, re.DOTALL) is not None


PICKLE = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
XGBOOST = (b'{"learner"', b"binf", b"{L\x00\x00\x00\x00\x00\x00\x00\x07learner")

KINDS = (
    Kind(lambda _head, size: size == 0, "The file is empty."),
    Kind(
        _begins(b"version https://git-lfs"),
        "The file is a Git LFS pointer, not the model that it stands for: fetch that with `git lfs pull`.",
    ),
    Kind(
        lambda head, _size: head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")),
        "The file is a web page: download the model itself (on GitHub and the Hugging Face hub, by the link `raw` "
        "or `download`).",
    ),
    Kind(
        _is_safetensors,
        f"The file is safetensors: weights by name, without the computation. Export its model: {HUB}, or {TORCH}.",
    ),
    Kind(
        _begins(b"GGUF", b"ggml", b"lmgg", b"tjgg", b"fmgg"),
        "The file is GGUF: the weights, mostly quantised, of a language model, without the computation. "
        f"Export the model that it was made from: {HUB}.",
    ),
    Kind(
        _begins(b"\x89HDF\r\n\x1a\n"),
        f"The file is HDF5, which Keras writes as .h5: export its model with {KERAS}, or with {TF} --keras PATH "
        "--output model.onnx`. Weights alone (`save_weights`) have to be loaded into their model first.",
    ),
    Kind(_at(4, b"TFL3"), f"The file is TensorFlow Lite: convert it with {TF} --tflite PATH --output model.onnx`."),
    Kind(_at(4, b"ORTM"), "The file is in onnxruntime's own format (.ort): send the ONNX file that it was made from."),
    Kind(
        _is_saved_model,
        "The file is the graph of a TensorFlow SavedModel, whose variables lie beside it: convert the folder with "
        f"{TF} --saved-model FOLDER --output model.onnx`.",
    ),
    Kind(
        _is_graph_def,
        f"The file is a frozen TensorFlow graph: convert it with {TF} --graphdef PATH --inputs x:0 --outputs y:0 "
        "--output model.onnx`.",
    ),
    Kind(
        _holds(PICKLE, b"sklearn", b"joblib", b"numpy_pickle"),
        "The file is a pickle of scikit-learn (joblib), which is never loaded: export the fitted model with "
        "`skl2onnx.to_onnx(model, X[:1].astype('float32'))` and send `.SerializeToString()` of that.",
    ),
    Kind(
        _begins(*PICKLE),
        f"The file is a pickle, as torch.save, joblib and pickle write it, which is never loaded. Of a torch model: "
        f"{TORCH}. Of scikit-learn: `skl2onnx.to_onnx(model, X[:1].astype('float32'))`.",
    ),
    Kind(_begins(*XGBOOST, b"tree\nversion=", b"CBM1"), f"The file is a boosted tree model. {TREES}"),
    Kind(
        _begins(b"\x93NUMPY"),
        "The file is a NumPy array, so data: POST /v1/datasets takes it as a data set.",
    ),
    Kind(
        lambda head, _size: head.lstrip().startswith(b"<?xml") and b"<net " in head,
        "The file is OpenVINO's, whose weights lie in a .bin beside it: send the ONNX file that it was made from.",
    ),
    Kind(_begins(b"ftrt", b"ptrt"), "The file is a TensorRT engine: send the ONNX file that it was built from."),
    Kind(
        _begins(b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!", b"\x28\xb5\x2f\xfd"),
        f"The file is compressed, in a way that is not unpacked here: {UNPACK}.",
    ),
)
"""The first that fits is told."""

NO_ARCHIVE = "The archive is neither TorchScript nor torch.export, and holds no ONNX model."
ENTRIES = (
    (
        r"model\.weights\.h5",
        f"The archive is a Keras model (.keras): export it with {KERAS}.",
    ),
    (
        r"saved_model\.pb(txt)?",
        f"The archive holds a TensorFlow SavedModel: convert the folder with {TF} --saved-model FOLDER "
        "--output model.onnx`.",
    ),
    (
        r"data\.pkl",
        "The archive is a pickled checkpoint (torch.save: a state dict, or a whole module), which is never loaded: "
        f"{TORCH}.",
    ),
    (r"archive_format", "The archive is a compiled package of torch (AOTInductor): save the program that it was "
                        "compiled from with `torch.export.save(torch.export.export(module, (example_input,)), PATH)`."),
    (
        r"FeatureDescriptions\.json|.*\.mlmodel",
        "The archive is a Core ML package: send the model that it was converted from, as ONNX.",
    ),
    (r".*\.safetensors", f"The archive holds weights in safetensors, without the computation: {HUB}, or {TORCH}."),
    (r".*\.npy", "The archive holds NumPy arrays, so data: POST /v1/datasets takes it as a data set."),
)  # fmt: skip
"""The first whose pattern fits the name of an entry is told."""
