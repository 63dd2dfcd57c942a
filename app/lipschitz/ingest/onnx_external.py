"""The weights that an ONNX file keeps in files beside it, put into its tensors.

Nothing is opened: the files are bytes of the same bundle. Every place is compared with what its tensor takes and with
what its file holds before a byte is copied.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from onnx import TensorProto

from ..errors import InvalidModel, MissingData, SurplusData
from ..external_data import Place
from .onnx_tensors import stored_bytes

LISTED = 20
"""Names that a refusal tells."""


def fill(tensors: Iterable[TensorProto], files: Mapping[str, memoryview]) -> None:
    """Give every tensor its bytes; MissingData or SurplusData unless the model names `files` and no others."""
    places = [(tensor, _place(tensor)) for tensor in tensors if _is_external(tensor)]
    _check_names({place.location for _, place in places}, files)
    for tensor, place in places:
        tensor.raw_data = bytes(_bytes_at(tensor, place, files[place.location]))
        tensor.ClearField("external_data")
        tensor.data_location = TensorProto.DEFAULT


def locations(tensors: Iterable[TensorProto]) -> dict[str, str]:
    """The names of the files as the model writes them, each with the form that a bundle has it under."""
    written = (_entries(tensor).get("location", "") for tensor in tensors if _is_external(tensor))
    return {name: _normal(name) for name in written}


def _normal(location: str) -> str:
    return Place.of({"location": location}).location


def _is_external(tensor: TensorProto) -> bool:
    return bool(tensor.data_location == TensorProto.EXTERNAL or tensor.external_data)


def _entries(tensor: TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def _place(tensor: TensorProto) -> Place:
    return Place.of(_entries(tensor))


def _check_names(named: set[str], files: Mapping[str, memoryview]) -> None:
    """An empty file is no surplus: torch writes one beside a model whose weights are all small."""
    sent = {name for name, file in files.items() if len(file)}
    missing, surplus = sorted(named - files.keys()), sorted(sent - named)
    beside = f" Sent was {_list(surplus)}, which it does not name." if surplus else ""
    if missing:
        raise MissingData(f"The model keeps weights in {_list(missing)}, which was not sent with it.{beside}")
    if surplus:
        raise SurplusData(f"The model does not name {_list(surplus)}: send it with its own files only.")


def _list(names: list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(map(repr, names[:LISTED])) + more


def _bytes_at(tensor: TensorProto, place: Place, file: memoryview) -> memoryview:
    if tensor.data_type == TensorProto.STRING or any(size < 0 for size in tensor.dims):
        raise InvalidModel(f"Tensor '{tensor.name}' cannot lie in a file of its own.")
    takes = stored_bytes(tensor, math.prod(tensor.dims))
    length = takes if place.length is None else place.length
    if length != takes:
        raise InvalidModel(
            f"Tensor '{tensor.name}' of shape {list(tensor.dims)} takes {takes} bytes, the model says {length}."
        )
    if place.offset + length > len(file):
        raise InvalidModel(
            f"Tensor '{tensor.name}' ends at byte {place.offset + length} of '{place.location}', "
            f"which has {len(file)} bytes."
        )
    return file[place.offset : place.offset + length]
