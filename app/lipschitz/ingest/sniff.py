"""Which format some bytes are, told by content and never by name; and how large an archive will grow.

TorchScript: a zip with `constants.pkl` and `code/` under one top folder. torch.export: a zip with
`archive_format` and `models/*.json` (torch >= 2.8), or `serialized_exported_program.json` (before). Anything
that is no zip can only be an ONNX protobuf, which has no magic number: parsing decides.
"""

from __future__ import annotations

import io
import zipfile
from typing import Literal

from app.lipschitz.errors import InvalidModel

Format = Literal["onnx", "torchscript", "torch_export"]

MAX_UNCOMPRESSED = 4 << 30
"""Bytes that an archive may unpack to, 4 GiB."""

_ZIP_MAGIC = b"PK\x03\x04"
_FOREIGN = {
    b"\x80\x02": "a pickle",
    b"\x80\x03": "a pickle",
    b"\x80\x04": "a pickle",
    b"\x93N": "a NumPy array",
}


def detect(data: bytes, max_uncompressed: int = MAX_UNCOMPRESSED) -> Format:
    """The format of `data`; raises InvalidModel for what is none of the three or unpacks to too much."""
    if not data:
        raise InvalidModel("The file is empty.")
    if not data.startswith(_ZIP_MAGIC):
        foreign = _FOREIGN.get(data[:2])
        if foreign is not None:
            raise InvalidModel(f"The file is {foreign}, not an ONNX, TorchScript or torch.export model.")
        return "onnx"
    return _archive_format(_archive_names(data, max_uncompressed))


def _archive_names(data: bytes, max_uncompressed: int) -> list[str]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, EOFError) as error:
        raise InvalidModel(f"The zip archive is damaged: {error}.") from error
    total = sum(entry.file_size for entry in entries)
    if total > max_uncompressed:
        raise InvalidModel(f"The archive unpacks to {total} bytes; the limit is {max_uncompressed}.")
    return [entry.filename for entry in entries]


def _archive_format(names: list[str]) -> Format:
    tails = {name.partition("/")[2] for name in names}
    if any(_is_export_program(name) for name in names):
        return "torch_export"
    if "constants.pkl" in tails and any(tail.startswith("code/") for tail in tails):
        return "torchscript"
    if "data.pkl" in tails:
        raise InvalidModel(
            "The archive is a pickled checkpoint (torch.save), which holds weights but no computation: "
            "export the model with torch.onnx.export, torch.jit.save or torch.export.save."
        )
    raise InvalidModel("The zip archive is neither TorchScript nor torch.export.")


def _is_export_program(name: str) -> bool:
    folder, _, leaf = name.rpartition("/")
    return leaf == "serialized_exported_program.json" or (
        folder.rpartition("/")[2] == "models" and leaf.endswith(".json")
    )
