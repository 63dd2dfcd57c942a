"""Models that arrive as several files, in one form or in an archive of their folder: both become one bundle.

Nothing of an archive reaches the disk under a name of its own, and every size is known before a byte is unpacked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import PurePosixPath
from typing import BinaryIO

from ..lipschitz.bundle import MAX_FILES, ONNX, is_bundle, path_of
from ..lipschitz.errors import InvalidModel, NotAModel, SurplusData
from ..lipschitz.folder import PASSED_OVER, named_model, several
from ..lipschitz.formats import is_onnx
from ..refusals import as_problems
from ..store.staging import Staged
from .archives import Entry, entries

Stage = Callable[[], Staged]


def joined(staged: Staged, name: str, stage: Stage, max_unpacked: int) -> tuple[Staged, str]:
    """What arrived as one model, with the model's name; another staged file where it was unpacked.

    The caller closes both. Refusals of `app.lipschitz.errors` as problems.
    """
    with as_problems(), staged.path.open("rb") as file:
        if staged.files:
            return staged, _seal(staged)
        _require_no_bundle(staged)
        return unpacked(file, stage, max_unpacked) or (staged, name)


def unpacked(file: BinaryIO, stage: Stage, max_unpacked: int) -> tuple[Staged, str] | None:
    """The model in an archive of a folder, staged, with its name; None where the file is no archive.

    The caller closes it. Raises the refusals of `app.lipschitz.errors`.
    """
    content = entries(file, max_unpacked)
    if content is None:
        return None
    if len(content) > MAX_FILES:
        raise InvalidModel(f"The archive holds more than {MAX_FILES} files.")
    model, needed = _choose(content)
    staged = stage()
    try:
        _unpack(staged, needed)
        _require_no_bundle(staged)
        return staged, path_of(_seal(staged, model) if staged.files else PurePosixPath(model).name)
    except BaseException:
        staged.close()
        raise


def _require_no_bundle(staged: Staged) -> None:
    """Bundles are made here, of files that are checked; one that arrives, in an archive too, is refused."""
    with staged.path.open("rb") as file:
        if is_bundle(file):
            raise NotAModel("The file ends as the service's own bundles do: send the files themselves.")


def _unpack(staged: Staged, needed: list[Entry]) -> None:
    for entry in needed:
        size = staged.size
        for chunk in entry.read():
            staged.write(chunk)
        if staged.size - size != entry.size:
            raise InvalidModel(f"The archive says that {entry.name!r} has {entry.size} bytes, and that is not so.")
        if len(needed) > 1:
            staged.end_file(entry.name)


def _seal(staged: Staged, model: str | None = None) -> str:
    """Make the staged files one bundle; the model's name."""
    model = model or _model_among(staged)
    folder = PurePosixPath(model).parent
    outside = [file.name for file in staged.files if not PurePosixPath(file.name).is_relative_to(folder)]
    if outside:
        raise SurplusData(f"The file {outside[0]!r} does not lie in the folder of the model {model!r}, nor below it.")
    staged.seal(
        PurePosixPath(model).name,
        [replace(file, name=str(PurePosixPath(file.name).relative_to(folder))) for file in staged.files],
    )
    return PurePosixPath(model).name


def _model_among(staged: Staged) -> str:
    """The one of the staged files that is an ONNX model."""
    with staged.path.open("rb") as file:
        position, models = 0, []
        for member in staged.files:
            if is_onnx(file, position, position + member.size_bytes):
                models.append(member.name)
            position += member.size_bytes
    named = [name for name in models if name.endswith(ONNX)] or models
    if not named:
        names = ", ".join(repr(member.name) for member in staged.files[:10])
        raise NotAModel(f"None of the files is an ONNX model, and only those have files beside them: {names}.")
    if len(named) > 1:
        raise several(named)
    return named[0]


def _choose(models: list[Entry]) -> tuple[str, list[Entry]]:
    """The archive's model, and the entries that are sent with it; NotAModel where it holds none."""
    models = [replace(entry, name=path_of(entry.name)) for entry in models]
    names = [entry.name for entry in models]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InvalidModel(f"The archive holds two files named {min(twice)!r}.")
    model = named_model(names)
    others = [name for name in names if name.endswith(ONNX) and name != model]
    return model, [entry for entry in models if entry.name == model or _may_belong(entry.name, model, others)]


def _may_belong(name: str, model: str, others: Iterable[str]) -> bool:
    """Whether a file is handed on with the model: it lies beside or below it, and nothing says what else it is."""
    is_beside = PurePosixPath(name).is_relative_to(PurePosixPath(model).parent)
    return is_beside and not PASSED_OVER.fullmatch(name) and not name.startswith((*others,))
