"""An ONNX model and the files that hold its weights, as one file.

The files' bytes follow one another in any order; then come the manifest as JSON, its length (8 bytes, little end
first) and `MARK`. So a bundle is written in one pass, and read without a copy. What names it is no digest of these
bytes but of what it consists of: SHA-256 of the sorted lines `<sha256>  <name>`, as `sha256sum * | sort` writes them.
"""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import BinaryIO

from ..contract.plain import Json
from .errors import InvalidModel

MARK = b"lipserve bundle\n"
LENGTH = 8
MAX_FILES = 1000
MAX_MANIFEST_BYTES = 2**20
MAX_NAME = 255
ONNX = ".onnx"


@dataclass(frozen=True)
class Member:
    """A file of a bundle; `name` is its path beside the model."""

    name: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Bundle:
    """The model's bytes, and by their names the files beside it."""

    model: bytes
    files: Mapping[str, memoryview] = field(default_factory=dict)


def path_of(name: str) -> str:
    """A name in its one form: a relative path that stays where it begins; InvalidModel where it does not."""
    path = PurePosixPath(name)
    leads_away = path.is_absolute() or ".." in path.parts or "\\" in name or not name.isprintable()
    if leads_away or not path.parts or len(name) > MAX_NAME:
        raise InvalidModel(f"The name {name[:MAX_NAME]!r} is not that of a file beside the model.")
    return str(path)


def identity(members: Iterable[Member]) -> str:
    """The SHA-256 that names a bundle of these files."""
    lines = sorted(f"{member.sha256}  {member.name}\n" for member in members)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def trailer(model: str, members: Iterable[Member]) -> bytes:
    """What follows the bytes of the members, in their order; `model` is the name of the one that is the model."""
    manifest = json.dumps({"model": model, "files": [asdict(member) for member in members]}).encode()
    return b"".join((manifest, len(manifest).to_bytes(LENGTH, "little"), MARK))


def is_bundle(file: BinaryIO) -> bool:
    """Whether the file ends as bundles do."""
    if file.seek(0, 2) < len(MARK):
        return False
    file.seek(-len(MARK), 2)
    return file.read(len(MARK)) == MARK


def split(data: bytes) -> Bundle:
    """The parts of a bundle; any other file is a model with nothing beside it. InvalidModel where it is damaged."""
    if not data.endswith(MARK):
        return Bundle(data)
    name, members = _manifest(data)
    files, view, position = {}, memoryview(data), 0
    for member in members:
        files[path_of(member.name)] = view[position : position + member.size_bytes]
        position += member.size_bytes
    return Bundle(bytes(files.pop(name)), files)


def digest(data: bytes) -> str:
    """The SHA-256 that names a model: of a bundle what it consists of, else that of its bytes. InvalidModel."""
    if not data.endswith(MARK):
        return hashlib.sha256(data).hexdigest()
    name, _ = _manifest(data)
    parts = split(data)
    files = {name: memoryview(parts.model), **parts.files}
    return identity(Member(name, hashlib.sha256(file).hexdigest(), len(file)) for name, file in files.items())


def _manifest(data: bytes) -> tuple[str, list[Member]]:
    """The model's name, and the members in the order of their bytes; InvalidModel."""
    try:
        return _read_manifest(data)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InvalidModel("The manifest of the bundle is damaged.") from error


def _read_manifest(data: bytes) -> tuple[str, list[Member]]:
    end = len(data) - len(MARK) - LENGTH
    length = int.from_bytes(data[end : end + LENGTH], "little") if end >= 0 else -1
    if not 0 <= length <= min(end, MAX_MANIFEST_BYTES):
        raise ValueError("no manifest")
    manifest: Json = json.loads(data[end - length : end])
    members = [Member(**entry) for entry in manifest["files"]]
    sizes = [operator.index(member.size_bytes) for member in members]
    names = {path_of(member.name) for member in members}
    if sum(sizes) != end - length or min(sizes) < 0 or len(names) < len(members) or manifest["model"] not in names:
        raise ValueError("another manifest")
    return manifest["model"], members
