"""Files on their way in: one copy, streamed to the disk, hashed on the way, whatever the request's form."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from anyio import to_thread
from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect

from ..errors import Problem
from ..jobs.folders import joined
from ..lipschitz import foreign
from ..lipschitz.bundle import MAX_FILES
from ..refusals import NotAModel, TooLarge
from ..store.blobs import Blobs, Staged

if TYPE_CHECKING:
    pass
from .forms import MAX_FIELD_BYTES, FileEnd, Form, Piece, SecondFile, Upload, clean_name, file_chunks

FLUSH_BYTES = 2**20
DRAIN_S = 20.0


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
        chunks = file_chunks(upload, body.chunks(), options.get(b"boundary", b""), form)
    else:
        chunks = body.chunks()
    staged = upload.staged
    async for block in _blocks(chunks):
        if isinstance(block, SecondFile):
            assert upload.next is not None
            staged = upload.next.staged
            continue
        if isinstance(block, FileEnd):
            staged.end_file(block.name)
            continue
        if staged.size == 0:
            form.check(block, int(length) if length.isdecimal() else sys.maxsize)
        await to_thread.run_sync(staged.write, block)


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


def _named(request: Request) -> str:
    """The name of a raw body: query parameter `name`, or the file name of a Content-Disposition header."""
    _, options = parse_options_header(request.headers.get("content-disposition"))
    name = options.get(b"filename", b"").decode("utf-8", "replace")
    return clean_name(request.query_params.get("name") or name)
