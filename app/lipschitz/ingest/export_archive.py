"""A torch.export archive (.pt2) as JSON and tensors. Nothing in it is unpickled but plain tensors.

torch's own loader evaluates texts of the file (guards, symbolic sizes, names of functions) and unpickles objects: it
runs programs. Here the graph is read as data. Weights lie beside it as raw bytes; those that an older or unusual
writer pickled are loaded with `weights_only`, which makes tensors and nothing else.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import InvalidModel, UnsupportedOperator
from .messages import first_line

MAJOR = 8
"""Version of torch.export's schema that is read; torch 2.5 to 2.15 write it."""

DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
"""Element types by torch.export's numbers; complex, quantised and 8-bit floating ones are not read."""


def element_type(number: int) -> torch.dtype:
    """The element type of a number; UnsupportedOperator for one that is not read."""
    if number not in DTYPES:
        raise UnsupportedOperator(
            f"The exported program uses an element type that is not supported (torch.export's number {number}): "
            "complex, quantised and 8-bit floating types have no rule."
        )
    return DTYPES[number]


@dataclass(frozen=True, eq=False)
class Archive:
    """The exported program's JSON, and its tensors by name: parameters, and buffers with constants."""

    program: Mapping[str, Any]
    parameters: dict[str, Tensor]
    others: dict[str, Tensor]


def read(data: bytes) -> Archive:
    """The archive in `data`. Raises InvalidModel where it is damaged or holds objects that are no tensors."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _Reader(archive).read()
    except InvalidModel:
        raise
    except MemoryError:
        raise
    except Exception as error:  # zip, JSON and tensors each raise their own
        raise InvalidModel(f"The torch.export archive cannot be loaded: {first_line(error)}") from error


class _Reader:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._names = set(archive.namelist())

    def read(self) -> Archive:
        if "serialized_exported_program.json" in self._names:
            program = self._program("serialized_exported_program.json")
            return self._sorted(program, self._pickled("serialized_state_dict.pt", "serialized_constants.pt"))
        models = [name for name in self._names if "/models/" in f"/{name}" and name.endswith(".json")]
        if len(models) != 1:
            raise InvalidModel(f"The torch.export archive holds {len(models)} programs; one is needed.")
        top, _, leaf = models[0].rpartition("models/")
        title = leaf.removesuffix(".json")
        program = self._program(models[0])
        weights = self._group(f"{top}data/weights/", title, "weights")
        return self._sorted(program, weights | self._group(f"{top}data/constants/", title, "constants"))

    def _program(self, name: str) -> Mapping[str, Any]:
        program: Mapping[str, Any] = json.loads(self._archive.read(name))
        major = program["schema_version"]["major"]
        if major != MAJOR:
            raise InvalidModel(f"The torch.export archive is of schema {major}; {MAJOR} is read.")
        return program

    def _group(self, folder: str, title: str, kind: str) -> dict[str, Tensor]:
        """Tensors as the group's configuration lists them, or of an older writer's one pickled file."""
        if f"{folder}{title}.pt" in self._names:
            return self._pickled(f"{folder}{title}.pt")
        listed = json.loads(self._archive.read(f"{folder}{title}_{kind}_config.json"))["config"]
        files: dict[str, Tensor] = {}
        return {name: self._tensor(name, folder, entry, files) for name, entry in listed.items()}

    def _tensor(self, name: str, folder: str, entry: Mapping[str, Any], files: dict[str, Tensor]) -> Tensor:
        path = folder + entry["path_name"]
        if entry["use_pickle"]:
            return _plain(name, _unpickled(name, self._archive.read(path)))
        meta = entry["tensor_meta"]
        if path not in files:
            raw = bytearray(self._archive.read(path))
            dtype = element_type(meta["dtype"])
            files[path] = torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)
        size, stride = [_int(each) for each in meta["sizes"]], [_int(each) for each in meta["strides"]]
        return torch.as_strided(files[path], size, stride, _int(meta["storage_offset"]))

    def _pickled(self, *names: str) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = {}
        for name in names:
            content = self._archive.read(name)
            unpickled = _unpickled(name, content) if content else {}
            tensors |= {key: _plain(key, value) for key, value in unpickled.items()}
        return tensors

    def _sorted(self, program: Mapping[str, Any], tensors: dict[str, Tensor]) -> Archive:
        """Which are parameters, the program's signature says."""
        specs = program["graph_module"]["signature"]["input_specs"]
        names = {spec["parameter"]["parameter_name"] for spec in specs if "parameter" in spec}
        others = {name: tensor for name, tensor in tensors.items() if name not in names}
        return Archive(program, {name: tensors[name] for name in names}, others)


def _unpickled(name: str, content: bytes) -> Any:
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch does not say what its readers raise
        raise InvalidModel(
            f"'{name[:100]}' in the torch.export archive is a pickle of more than tensors, which is not read."
        ) from error


def _plain(name: str, value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        raise InvalidModel(f"'{name[:100]}' in the torch.export archive is no tensor: custom objects are not read.")
    return value.detach()


def _int(value: Mapping[str, Any]) -> int:
    fixed = value["as_int"]
    if type(fixed) is not int:
        raise InvalidModel("A stored tensor's size is no number.")
    return fixed
