"""What the card of an MLflow model (`MLmodel`) says: which file the model is, and the shapes of its inputs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..contract.plain import Json

CARD = "MLmodel"
TORCH_FILES = ("model.pt2", "model.pth")
"""A torch.export archive, or TorchScript; a pickled module has the second name, too, and is refused by its content."""


@dataclass(frozen=True)
class Shape:
    """What a registry says of one input: -1 stands for an open size."""

    name: str | None
    sizes: tuple[int, ...]


def file_of(card: Json, has: Callable[[str], bool]) -> str | None:
    """The path of the ONNX or PyTorch flavour's file beside the card; None where the model has neither."""
    flavors = card.get("flavors")
    match flavors if isinstance(flavors, dict) else {}:
        case {"onnx": {"data": str(path)}}:
            return path
        case {"pytorch": {"model_data": str(folder)}}:
            return next(filter(has, (f"{folder}/{file}" for file in TORCH_FILES)), None)
    return None


def shapes_of(signature: Any) -> tuple[Shape, ...]:
    """The input shapes of a signature, which is JSON within YAML; none where it has other inputs than tensors."""
    try:
        columns = json.loads(signature["inputs"])
        return tuple(Shape(c.get("name"), tuple(map(int, c["tensor-spec"]["shape"]))) for c in columns)
    except (TypeError, KeyError, ValueError, AttributeError):
        return ()


def inputs_of(declared: list[Json], shapes: tuple[Shape, ...]) -> dict[str, list[int]] | None:
    """The sizes that a file leaves open, as its registry gives them; a leading open size is the batch and becomes 1.

    None where nothing is open, or where the registry's inputs are not the file's.
    """
    by_name = {shape.name: shape.sizes for shape in shapes}
    names = [tensor["name"] for tensor in declared]
    if set(names) <= set(by_name):
        given = [by_name[name] for name in names]
    elif len(shapes) == len(declared):
        given = [shape.sizes for shape in shapes]
    else:
        return None
    filled = {tensor["name"]: _filled(tensor["shape"], sizes) for tensor, sizes in zip(declared, given, strict=True)}
    known = {name: shape for name, shape in filled.items() if shape is not None}
    return known or None


def _filled(declared: list[int], given: tuple[int, ...]) -> list[int] | None:
    """One input's shape; a file that tells not even the rank declares []."""
    if declared and (len(declared) != len(given) or min(declared) >= 1):
        return None
    sizes = [fixed if fixed >= 1 else size for fixed, size in zip(declared or given, given, strict=True)]
    if sizes and sizes[0] < 1:
        sizes[0] = 1
    return sizes if sizes and min(sizes) >= 1 else None
