"""Where a model may come from besides an upload, and what every such place has in common."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import unquote

import httpx

from app.errors import DigestMismatch, InvalidModel, SourceRefused, SourceUnreachable
from app.registries import fetch_external
from app.registries.fetch import Fetcher
from app.registries.guard import Refused, Unreachable
from app.store.blobs import Staged

MAX_SPLIT_BYTES = 256 * 2**20
"""Largest file without its weights."""
ZIP = b"PK\x03\x04"

Stage = Callable[[], Staged]


@dataclass(frozen=True)
class Shape:
    """What a registry says of one input: -1 stands for an open size."""

    name: str | None
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class Found:
    """A file that a source points at: `sha256` where the source tells it beforehand, `path` among its files."""

    name: str
    path: str
    sha256: str | None = None
    shapes: tuple[Shape, ...] = ()


class Source(Protocol):
    """A place that holds one model: first find it, then read it."""

    def find(self) -> Found:
        """Which file it is; Refused or Unreachable."""

    def read(self, path: str, write: Callable[[bytes], None]) -> None:
        """Hand a file to `write`; Refused or Unreachable."""


@dataclass(frozen=True)
class Url:
    """A file behind a URL."""

    url: str
    fetcher: Fetcher

    def find(self) -> Found:
        """The file, named by the last part of its path."""
        self.fetcher.guard.check_url(self.url)
        path = unquote(httpx.URL(self.url).path)
        return Found(PurePosixPath(path).name, path)

    def read(self, path: str, write: Callable[[bytes], None]) -> None:  # noqa: ARG002 (there is one file only)
        """The file's bytes."""
        self.fetcher.stream(self.url, write)


def whole(found: Found, source: Source, stage: Stage) -> Staged:
    """The model as one staged file, which the caller closes; weights that lie beside it are put in."""
    staged = stage()
    try:
        source.read(found.path, staged.write)
        if found.sha256 is not None and staged.sha256 != found.sha256:
            raise DigestMismatch(f"The bytes fetched have the SHA-256 {staged.sha256} instead of {found.sha256}.")
        if not isinstance(source, Url) and (names := _beside(staged)):  # a URL names one file, with none beside it
            return _joined(staged, names, found, source, stage)
    except BaseException:
        staged.close()
        raise
    return staged


@contextmanager
def told() -> Iterator[None]:
    """Turns what the network refuses into problems for the caller."""
    try:
        yield
    except Refused as error:
        raise SourceRefused(str(error)) from error
    except Unreachable as error:
        raise SourceUnreachable(str(error)) from error


def _beside(staged: Staged) -> list[str]:
    """Files with weights that an ONNX file names."""
    if not 0 < staged.size <= MAX_SPLIT_BYTES:
        return []
    with _mapped(staged) as model:
        if model[: len(ZIP)] == ZIP:
            return []
        try:
            return fetch_external.external_files(model)
        except InvalidModel:
            return []


@contextmanager
def _mapped(staged: Staged) -> Iterator[mmap.mmap]:
    with staged.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as model:
        yield model


def _joined(staged: Staged, names: list[str], found: Found, source: Source, stage: Stage) -> Staged:
    with ExitStack() as stack:
        stack.callback(staged.close)
        files: dict[str, Path] = {}
        left = staged.max_bytes
        for name in names:
            part = stage()
            stack.callback(part.close)
            source.read(str(PurePosixPath(found.path).parent / name), part.capped(left))
            left -= part.size
            files[name] = part.path
        joined = stage()
        try:
            with _mapped(staged) as model:
                fetch_external.embed(model, files, joined.write)
        except BaseException:
            joined.close()
            raise
        return joined
