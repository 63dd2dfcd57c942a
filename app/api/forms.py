"""Forms with files, read as they come: which part the bytes belong to, its name, and where one file ends."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from ..errors import MalformedRequest, Problem
from ..lipschitz.bundle import path_of
from ..refusals import NotAModel, TooLarge, as_problems
from ..store.blobs import Staged

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_FIELD_BYTES = 8 * 2**20
MAX_PART_HEADER_BYTES = 16 * 2**10
MAX_NAME = 255
DEFAULT_NAME = "upload"


@dataclass
class Upload:
    """A staged file with its name, and the other parts of the form."""

    staged: Staged
    name: str = DEFAULT_NAME
    fields: dict[str, bytes] = field(default_factory=dict)
    next: Upload | None = None
    """The form's second file, where it holds two things."""

    def summary(self) -> list[Any]:
        """What was received, as JSON: the same for the same file and fields, however the form was cut."""
        fields = {name: hashlib.sha256(value).hexdigest() for name, value in sorted(self.fields.items())}
        return [self.staged.sha256, self.name, fields]


@dataclass(frozen=True)
class Form:
    """What a form may hold beside its file, or its `max_files` files, which are looked at on the way by `check`."""

    parts: tuple[str, ...] = ()
    files: tuple[str, ...] = ("file",)
    missing: type[Problem] = NotAModel
    max_files: int = 1
    check: Callable[[bytes, int], None] = lambda _head, _size: None


@dataclass(frozen=True)
class FileEnd:
    """What came before is a file of that name, one of several."""

    name: str


@dataclass(frozen=True)
class SecondFile:
    """What comes now belongs to the form's second file."""


Piece = bytes | FileEnd | SecondFile


async def file_chunks(
    upload: Upload, chunks: AsyncIterator[bytes], boundary: bytes, kind: Form
) -> AsyncIterator[Piece]:
    """The bytes of parts `file`, each followed by its end where there are several; the other parts are gathered in
    `upload.fields` on the way.
    """
    form = FormParser(upload, kind)
    try:
        parser = MultipartParser(boundary, form.callbacks())
        async for chunk in chunks:
            parser.write(chunk)
            for piece in form.taken():
                yield piece
        parser.finalize()
    except FormParserError as error:
        raise MalformedRequest(f"The form is broken: {error}.") from error
    if not form.is_complete:
        raise MalformedRequest("The form ends before its closing boundary.")
    for end in form.last():
        yield end


class FormParser:
    """The parser's callbacks: which part the bytes belong to."""

    def __init__(self, upload: Upload, kind: Form) -> None:
        self.is_complete = False
        self._upload = upload
        self._kind = kind
        self._part = ""
        self._header = b""
        self._value = b""
        self._header_bytes = 0
        self._pieces: list[Piece] = []
        self._name = ""
        self._names: list[str] = []
        self._begun: list[str] = []

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_part_data": self._on_part_data,
            "on_part_begin": self._on_part_begin,
            "on_headers_finished": self._on_headers_finished,
            "on_end": self._on_end,
        }

    def taken(self) -> Iterator[Piece]:
        """The files' bytes since the last call."""
        pieces, self._pieces = self._pieces, []
        yield from pieces

    def last(self) -> Iterator[Piece]:
        """The end of the last file, where there are several."""
        if len(self._names) > 1:
            yield FileEnd(self._names[-1])

    def _on_part_begin(self) -> None:
        self._part = ""
        self._header_bytes = 0

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]
        self._count_header(end - start)

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._count_header(end - start)

    def _count_header(self, size: int) -> None:
        """Headers of a part are few and short, as a request's are."""
        self._header_bytes += size + 1
        if self._header_bytes > MAX_PART_HEADER_BYTES:
            raise MalformedRequest(f"The headers of a part of the form are longer than {MAX_PART_HEADER_BYTES} bytes.")

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            self._part = options.get(b"name", b"").decode("utf-8", "replace")
            self._name = options.get(b"filename", b"").decode("utf-8", "replace")
        self._header = self._value = b""

    def _on_headers_finished(self) -> None:
        if self._part not in (*self._kind.files, *self._kind.parts):
            known = ", ".join((*self._kind.files, *self._kind.parts))
            raise MalformedRequest(f"The form has a part named {self._part!r}; its parts are {known}.")
        if self._part in self._upload.fields or (self._names and self._part == "file" and self._kind.max_files == 1):
            raise MalformedRequest(f"The form has two parts named {self._part!r}.")
        if len(self._kind.files) > 1 and self._part in self._kind.files:
            self._begin_one_of_two()
        elif self._part == "file":
            self._begin_file()
        else:
            self._upload.fields[self._part] = b""

    def _begin_one_of_two(self) -> None:
        """The files come in the order of their parts."""
        wanted = self._kind.files[len(self._begun) :][:1]
        if wanted != (self._part,):
            raise MalformedRequest(f"The form needs its files in the order {', '.join(self._kind.files)}, each once.")
        target = self._upload if not self._begun else self._upload.next
        assert target is not None
        if self._begun:
            self._pieces.append(SecondFile())
        target.name = clean_name(self._name) if self._name else target.name
        self._begun.append(self._part)

    def _begin_file(self) -> None:
        """One more file: the names of several are paths beside one another, of one it is a label."""
        if len(self._names) >= self._kind.max_files:
            raise MalformedRequest(f"The form has more than {self._kind.max_files} files.")
        if not self._names:
            self._upload.name = clean_name(self._name) if self._name else self._upload.name
            self._names.append(self._name)
            return
        with as_problems():
            name, self._names[0] = path_of(self._name), path_of(self._names[0])
        if name in self._names:
            raise MalformedRequest(f"The form has two files named {name!r}.")
        self._pieces.append(FileEnd(self._names[-1]))
        self._names.append(name)

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._part in self._kind.files:
            self._pieces.append(data[start:end])
            return
        self._upload.fields[self._part] += data[start:end]
        if len(self._upload.fields[self._part]) > MAX_FIELD_BYTES:
            raise TooLarge(f"Part {self._part!r} is larger than {MAX_FIELD_BYTES} bytes.")

    def _on_end(self) -> None:
        self.is_complete = True


def clean_name(name: str) -> str:
    """The last part of a path, without control characters."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(character for character in last if character.isprintable())[:MAX_NAME] or DEFAULT_NAME
