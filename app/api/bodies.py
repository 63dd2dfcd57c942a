"""Bodies that fit into memory: read whole, up to a cap."""

from __future__ import annotations

from fastapi import Request

from ..refusals import TooLarge


async def small_body(request: Request, max_bytes: int) -> bytes:
    """The body; TooLarge as soon as it is longer."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise TooLarge(f"The body of this request may take {max_bytes} bytes.")
    return bytes(body)
