"""Which file of a folder is the model."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

from . import foreign
from .bundle import MAX_FILES, ONNX
from .errors import InvalidModel, NotAModel

PROGRAMS = (".pt2", ".pt", ".pth", ".ts", ".torchscript")
DEFAULT = "model.onnx"
"""Preferred where an archive holds several models: what the exporters of the hub call the plain one."""

PASSED_OVER = re.compile(
    r"(.*/)?(\.[^/]*|MLmodel|NOTICE|(licen[cs]e|readme)[^/]*|pytorch_model[^/]*\.bin|[^/]*\.(json|jsonl|txt|md|ya?ml|toml"
    r"|csv|py|ipynb|html|pdf|png|jpe?g|gif|svg|jinja|model|npy|npz|safetensors|h5|msgpack))|__MACOSX/.*",
    re.IGNORECASE,
)
"""What lies in folders of MLflow and of the hub beside a model, and is no part of it."""


def model_in(path: Path) -> Path:
    """The path itself, or the model in it where it is a folder; NotAModel or InvalidModel where there is not one."""
    if not path.is_dir():
        return path
    names = []
    for folder, _, files in os.walk(path):
        names += [(Path(folder) / name).relative_to(path).as_posix() for name in files]
        if len(names) > MAX_FILES:
            raise InvalidModel(f"The folder holds more than {MAX_FILES} files.")
    return path / named_model(names)


def named_model(names: list[str]) -> str:
    """The one that is the model of a folder of these; NotAModel or InvalidModel where there is not one."""
    visible = [name for name in names if not PASSED_OVER.fullmatch(name)]
    for suffixes in ((ONNX,), PROGRAMS):
        models = [name for name in visible if name.endswith(suffixes)]
        plain = [name for name in models if PurePosixPath(name).name == DEFAULT]
        if len(models) == 1 or len(plain) == 1:
            return (plain or models)[0]
        if models:
            raise several(models)
    raise NotAModel(foreign.of_entries(names))


def several(names: list[str]) -> InvalidModel:
    """The refusal of a folder with these models."""
    return InvalidModel(f"There are several models: {', '.join(map(repr, sorted(names)[:10]))}. Send one of them.")
