"""Where a model may come from besides an upload, and what every such place has in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol
from urllib.parse import unquote

import httpx

from ..errors import DigestMismatch, SourceRefused, SourceUnreachable
from ..jobs.folders import Stage, joined
from ..lipschitz.external_data import files_beside
from ..store.blobs import Staged
from .card import Shape
from .fetch import Fetcher
from .guard import Refused, Unreachable


@dataclass(frozen=True)
class Location:
    """A file that a source points at: `sha256` where the source tells it beforehand, `path` among its files."""

    name: str
    path: str
    sha256: str | None = None
    shapes: tuple[Shape, ...] = ()


class Source(Protocol):
    """A place that holds one model: first find it, then read it."""

    def find(self) -> Location:
        """Which file it is; Refused or Unreachable."""

    def read(self, path: str, write: Callable[[bytes], None]) -> None:
        """Hand a file to `write`; Refused or Unreachable."""


@dataclass(frozen=True)
class Url:
    """A file behind a URL."""

    url: str
    fetcher: Fetcher

    def find(self) -> Location:
        """The file, named by the last part of its path."""
        self.fetcher.guard.check_url(self.url)
        path = unquote(httpx.URL(self.url).path)
        return Location(PurePosixPath(path).name, path)

    def read(self, path: str, write: Callable[[bytes], None]) -> None:  # noqa: ARG002 (there is one file only)
        self.fetcher.stream(self.url, write)


def whole(location: Location, source: Source, stage: Stage, max_unpacked: int) -> tuple[Staged, str]:
    """The model as one staged file, which the caller closes, and its name; files that lie beside it come with it."""
    staged = stage()
    try:
        source.read(location.path, staged.write)
        if location.sha256 is not None and staged.sha256 != location.sha256:
            raise DigestMismatch(f"The bytes fetched have the SHA-256 {staged.sha256} instead of {location.sha256}.")
        if not isinstance(source, Url):  # a URL names one file, with none beside it
            _fetch_beside(staged, location, source)
        model, name = joined(staged, location.name, stage, max_unpacked)
        if model is not staged:
            staged.close()
        return model, location.name if model is staged else name
    except BaseException:
        staged.close()
        raise


def _fetch_beside(staged: Staged, location: Location, source: Source) -> None:
    """Append the files with weights that an ONNX file names."""
    path = PurePosixPath(location.path)
    names = files_beside(staged.path)
    if names:
        staged.end_file(path.name)
    for name in names:
        source.read(str(path.parent / name), staged.write)
        staged.end_file(name)


@contextmanager
def refusals_as_problems() -> Iterator[None]:
    """Turns what the network refuses into problems for the caller."""
    try:
        yield
    except Refused as error:
        raise SourceRefused(str(error)) from error
    except Unreachable as error:
        raise SourceUnreachable(str(error)) from error
