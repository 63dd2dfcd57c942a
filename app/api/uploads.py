"""Files on their way in: one copy, streamed to the disk, hashed on the way, whatever the request's form."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from anyio import to_thread
from fastapi import Request
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect

from app.errors import MalformedRequest, NotAModel, Problem, TooLarge, as_problems
from app.jobs.folders import joined
from app.lipschitz import foreign
from app.lipschitz.bundle import MAX_FILES, path_of
from app.store.blobs import Blobs, Staged

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FLUSH_BYTES = 2**20
MAX_FIELD_BYTES = 8 * 2**20
MAX_PART_HEADER_BYTES = 16 * 2**10
DRAIN_S = 20.0
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


def refuse_foreign(head: bytes, size: int) -> None:
    """Raise NotAModel for a file whose first bytes say that it is another kind; `size` is what has come of it."""
    if sentence := foreign.known(head, size):
        raise NotAModel(sentence)


MODEL = Form(max_files=MAX_FILES, check=refuse_foreign)


@asynccontextmanager
async def received_model(
    request: Request, blobs: Blobs, max_unpacked: int, parts: tuple[str, ...] = ()
) -> AsyncIterator[Upload]:
    """The request's model: a file, several in one form, or an archive of their folder; as `received`."""
    async with received(request, blobs, replace(MODEL, parts=parts)) as upload:
        staged = upload.staged
        upload.staged, upload.name = await to_thread.run_sync(joined, staged, upload.name, blobs.stage, max_unpacked)
        try:
            yield upload
        finally:
            if upload.staged is not staged:
                await to_thread.run_sync(upload.staged.close)


@asynccontextmanager
async def received_pair(request: Request, blobs: Blobs, max_unpacked: int) -> AsyncIterator[tuple[Upload, Upload]]:
    """The two models in parts `a` and `b` of a form, each one file or an archive of its folder."""
    pair = Form(parts=("request",), files=("a", "b"), check=refuse_foreign)
    async with received(request, blobs, pair) as first:
        second = first.next
        if second is None or second.staged.size == 0:
            raise NotAModel("The form holds no second model: send one as part `a` and one as part `b`.")
        opened: list[Staged] = []
        try:
            for upload in (first, second):
                staged = upload.staged
                upload.staged, upload.name = await to_thread.run_sync(
                    joined, staged, upload.name, blobs.stage, max_unpacked
                )
                opened += [upload.staged] if upload.staged is not staged else []
            yield first, second
        finally:
            for staged in opened:
                await to_thread.run_sync(staged.close)


@asynccontextmanager
async def received(request: Request, blobs: Blobs, form: Form) -> AsyncIterator[Upload]:
    """The request's file: part `file` of a form that may also hold other parts, or else the whole body.

    Raises what the form has for `missing` where there is none. Leaves nothing on the disk unless the file is kept
    inside the block, also when the client goes away.
    """
    staged = await to_thread.run_sync(blobs.stage)
    other = await to_thread.run_sync(blobs.stage) if len(form.files) > 1 else None
    try:
        upload, body = Upload(staged, _named(request)), _Body(request)
        upload.next = None if other is None else Upload(other)
        try:
            await _fill(upload, request, body, blobs.max_bytes, form)
            if staged.size == 0:
                raise form.missing("The request holds no file: send it as the body, or as part `file` of a form.")
        except Problem:
            await body.drain()
            raise
        yield upload
    finally:
        await to_thread.run_sync(staged.close)
        if other is not None:
            await to_thread.run_sync(other.close)


class _Body:
    """The request's body, and whether all of it was read."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._is_read = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes as they come; ClientDisconnect when the client goes away."""
        while not self._is_read:
            yield await self._receive()

    async def drain(self) -> None:
        """Read the rest of a refused body, for a while: most clients listen only after all is sent."""
        if self._is_read or self._request.headers.get("expect", "").lower() == "100-continue":
            return
        try:
            async with asyncio.timeout(DRAIN_S):
                while not self._is_read:
                    await self._receive()
        except TimeoutError:
            return

    async def _receive(self) -> bytes:
        message = await self._request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        self._is_read = not message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        return chunk


async def _fill(upload: Upload, request: Request, body: _Body, max_bytes: int, form: Form) -> None:
    length = request.headers.get("content-length", "")
    most = len(form.files) * max_bytes + (len(form.parts) + 1) * MAX_FIELD_BYTES
    if length.isdecimal() and int(length) > most:
        raise TooLarge(f"The file is larger than {max_bytes} bytes.")
    media_type, options = parse_options_header(request.headers.get("content-type"))
    if media_type == b"multipart/form-data":
        chunks = _file_chunks(upload, body, options.get(b"boundary", b""), form)
    else:
        chunks = body.chunks()
    staged = upload.staged
    async for block in _blocks(chunks):
        if isinstance(block, _Second):
            assert upload.next is not None
            staged = upload.next.staged
            continue
        if isinstance(block, _End):
            staged.end_file(block.name)
            continue
        if staged.size == 0:
            form.check(block, int(length) if length.isdecimal() else sys.maxsize)
        await to_thread.run_sync(staged.write, block)


@dataclass(frozen=True)
class _End:
    """What came before is a file of that name, one of several."""

    name: str


@dataclass(frozen=True)
class _Second:
    """What comes now belongs to the form's second file."""


Piece = bytes | _End | _Second


async def _blocks(chunks: AsyncIterator[Piece]) -> AsyncIterator[Piece]:
    """The same bytes in pieces worth a trip to another thread."""
    buffer = bytearray()
    async for chunk in chunks:
        if isinstance(chunk, bytes):
            buffer += chunk
        if buffer and (not isinstance(chunk, bytes) or len(buffer) >= FLUSH_BYTES):
            yield bytes(buffer)
            buffer.clear()
        if not isinstance(chunk, bytes):
            yield chunk
    if buffer:
        yield bytes(buffer)


async def _file_chunks(upload: Upload, body: _Body, boundary: bytes, kind: Form) -> AsyncIterator[Piece]:
    """The bytes of parts `file`, each followed by its end where there are several; the other parts are gathered in
    `upload.fields` on the way.
    """
    form = _Form(upload, kind)
    try:
        parser = MultipartParser(boundary, form.callbacks())
        async for chunk in body.chunks():
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


class _Form:
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
        """The parser's hooks."""
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
            yield _End(self._names[-1])

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
            self._pieces.append(_Second())
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
        self._pieces.append(_End(self._names[-1]))
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


def _named(request: Request) -> str:
    """The name of a raw body: query parameter `name`, or the file name of a Content-Disposition header."""
    _, options = parse_options_header(request.headers.get("content-disposition"))
    name = options.get(b"filename", b"").decode("utf-8", "replace")
    return clean_name(request.query_params.get("name") or name)


def clean_name(name: str) -> str:
    """The last part of a path, without control characters."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(character for character in last if character.isprintable())[:MAX_NAME] or DEFAULT_NAME
