"""Files on their way in: one copy, streamed to the disk, hashed on the way, whatever the request's form."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from anyio import to_thread
from fastapi import Request
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect

from app.errors import MalformedRequest, NotAModel, Problem, TooLarge
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

    def summary(self) -> list[Any]:
        """What was received, as JSON: the same for the same file and fields, however the form was cut."""
        fields = {name: hashlib.sha256(value).hexdigest() for name, value in sorted(self.fields.items())}
        return [self.staged.sha256, self.name, fields]


@asynccontextmanager
async def received(
    request: Request, blobs: Blobs, parts: tuple[str, ...] = (), missing: type[Problem] = NotAModel
) -> AsyncIterator[Upload]:
    """The request's file: part `file` of a form that may also hold `parts`, or else the whole body.

    Raises `missing` where there is none. Leaves nothing on the disk unless the file is kept inside the block, also
    when the client goes away.
    """
    staged = await to_thread.run_sync(blobs.stage)
    try:
        upload, body = Upload(staged, _named(request)), _Body(request)
        try:
            await _fill(upload, request, body, blobs.max_bytes, parts)
            if upload.staged.size == 0:
                raise missing("The request holds no file: send it as the body, or as part `file` of a form.")
        except Problem:
            await body.drain()
            raise
        yield upload
    finally:
        await to_thread.run_sync(staged.close)


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


async def _fill(upload: Upload, request: Request, body: _Body, max_bytes: int, parts: tuple[str, ...]) -> None:
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes + (len(parts) + 1) * MAX_FIELD_BYTES:
        raise TooLarge(f"The file is larger than {max_bytes} bytes.")
    media_type, options = parse_options_header(request.headers.get("content-type"))
    if media_type == b"multipart/form-data":
        chunks = _file_chunks(upload, body, options.get(b"boundary", b""), parts)
    else:
        chunks = body.chunks()
    async for block in _blocks(chunks):
        await to_thread.run_sync(upload.staged.write, block)


async def _blocks(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces worth a trip to another thread."""
    buffer = bytearray()
    async for chunk in chunks:
        buffer += chunk
        if len(buffer) >= FLUSH_BYTES:
            yield bytes(buffer)
            buffer.clear()
    if buffer:
        yield bytes(buffer)


async def _file_chunks(upload: Upload, body: _Body, boundary: bytes, parts: tuple[str, ...]) -> AsyncIterator[bytes]:
    """The bytes of part `file`; the other parts are gathered in `upload.fields` on the way."""
    form = _Form(upload, parts)
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


class _Form:
    """The parser's callbacks: which part the bytes belong to."""

    def __init__(self, upload: Upload, parts: tuple[str, ...]) -> None:
        self.is_complete = False
        self._upload = upload
        self._parts = parts
        self._part = ""
        self._header = b""
        self._value = b""
        self._header_bytes = 0
        self._pieces: list[bytes] = []
        self._has_file = False

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

    def taken(self) -> Iterator[bytes]:
        """The file's bytes since the last call."""
        pieces, self._pieces = self._pieces, []
        yield from pieces

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
            if self._part == "file" and options.get(b"filename"):
                self._upload.name = clean_name(options[b"filename"].decode("utf-8", "replace"))
        self._header = self._value = b""

    def _on_headers_finished(self) -> None:
        if self._part not in ("file", *self._parts):
            known = ", ".join(("file", *self._parts))
            raise MalformedRequest(f"The form has a part named {self._part!r}; its parts are {known}.")
        if (self._part == "file" and self._has_file) or self._part in self._upload.fields:
            raise MalformedRequest(f"The form has two parts named {self._part!r}.")
        if self._part == "file":
            self._has_file = True
        else:
            self._upload.fields[self._part] = b""

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._part == "file":
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
