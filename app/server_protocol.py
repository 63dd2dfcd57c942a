"""uvicorn's HTTP/1.1 with limits on what a client may send and how slowly.

The parser behind it (llhttp) takes headers of any size, and joins their pieces in quadratic time; uvicorn waits for
the rest of a request for ever. Here a head has a size and a deadline, and a body, like an answer, has to move: a client
may stall for `stall_s` in all, and earns the time back at `rate` bytes a second.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from .api.problems import MEDIA_TYPE
from .errors import HeaderTooLarge, MalformedRequest, Problem, RequestTimeout, TooManyConnections
from .server_connections import Connections, Limits, Pace, network_of

MAX_PIPELINED = 16
FRAMING = 8
"""Bytes around each byte of a body that are no abuse: a chunk of one byte takes five more."""
PER_HEADER = 32
"""What a header counts for beside its text, as in HTTP/2: many short ones cost more than one long one."""
LINGER_S = 30.0
GRACE_S = 5.0
"""How long a body may take before it yields to other connections."""
WAITS, SENDS = 0, 1


class LimitedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self,
        limits: Limits,
        crowd: Connections,
        *,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits, self._crowd = limits, crowd
        self.address = ""
        now = self.loop.time()
        self._head_since: float | None = now  # None: between two requests, when uvicorn's own timer runs
        self._idle_since = now
        self._head_bytes = self._body_bytes = self._framing_bytes = 0
        self._is_in_body = self._has_ended = False
        self._body_since = now
        self._refused_at: float | None = None
        self._reading, self._writing = Pace(limits, now), Pace(limits, now)
        self._unsent = 0

    # The connection's life

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come: others may have to yield to it."""
        super().connection_made(transport)
        self.address = network_of(self.client)
        if not self._crowd.add(self, self.loop.time()):
            self._write(TooManyConnections("More connections are open than the service keeps; try again later."))
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone, or was sent away."""
        self._crowd.remove(self)
        super().connection_lost(exc)

    def claim(self, now: float) -> tuple[int, float] | None:
        """Those whose client is waited for yield, the oldest first; then bodies, the slowest first."""
        if self._is_in_body and self._refused_at is None:
            age = now - self._body_since
            return (SENDS, self._body_bytes / age) if age > GRACE_S else None
        if self._is_answering and self._refused_at is None:
            return None
        return WAITS, self._refused_at or self._head_since or self._idle_since

    def drop(self) -> None:
        """End the connection at once."""
        self.transport.abort()

    def check(self, now: float) -> None:
        """Once a second: end the connection where the client has had its time."""
        if self._is_stuck_writing(now):
            self.transport.abort()
        elif self._refused_at is not None:
            if now - self._refused_at > LINGER_S or self._reading.is_over(now, is_clients_turn=True):
                self.transport.abort()
        elif self._is_in_body:
            is_clients_turn = not (self.flow.read_paused or self.cycle.waiting_for_100_continue)
            if self._reading.is_over(now, is_clients_turn=is_clients_turn):
                self._refuse(RequestTimeout(f"The body came at less than {self._limits.rate:g} bytes a second."))
        elif self._head_since is not None and not self._is_answering and now - self._head_since > self._limits.header_s:
            self._refuse(RequestTimeout(f"The request's head took more than {self._limits.header_s:g} s."))

    def _is_stuck_writing(self, now: float) -> bool:
        unsent = self.transport.get_write_buffer_size()
        self._writing.moved(max(0, self._unsent - unsent))
        self._unsent = unsent
        return self._writing.is_over(now, is_clients_turn=unsent > 0)

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    # What comes in

    def data_received(self, data: bytes) -> None:
        """Some bytes of a request's head or body, or of several requests."""
        self._unset_keepalive_if_required()
        if self._refused_at is not None:
            self._reading.moved(len(data))
            return
        was_in_body, body_bytes, self._has_ended = self._is_in_body, self._body_bytes, False
        if not was_in_body and self._head_since is None:
            self._head_since = self.loop.time()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.cycle.keep_alive = False  # to no other protocol; the request is answered as if it had not asked
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, Problem) else MalformedRequest("This is not HTTP/1.1."))
            return
        self._count(len(data), was_in_body, self._body_bytes - body_bytes)

    def _count(self, size: int, was_in_body: bool, body_size: int) -> None:
        """Bytes that the parser keeps to itself until a header or a chunk's head is complete."""
        if self._is_in_body != was_in_body or self._has_ended:  # a whole request may come at once, with its body
            self._head_bytes = self._framing_bytes = 0
        elif self._is_in_body:
            self._framing_bytes += size - body_size
            if self._framing_bytes > self._limits.header_bytes + FRAMING * self._body_bytes:
                self._refuse(self._too_large())
        else:
            self._head_bytes += size
            if self._head_bytes > self._limits.header_bytes:
                self._refuse(self._too_large())

    def on_message_begin(self) -> None:
        """A request begins, perhaps while an earlier one is being answered."""
        if len(self.pipeline) >= MAX_PIPELINED:
            raise MalformedRequest(f"More than {MAX_PIPELINED} requests were sent ahead of their answers.")
        self._head_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target."""
        self._add(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A whole header; those that follow a body mean nothing here and are left out."""
        self._add(len(name) + len(value) + PER_HEADER)
        if not self._is_in_body:
            super().on_header(name, value)

    def _add(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._limits.header_bytes:
            raise self._too_large()

    def _too_large(self) -> HeaderTooLarge:
        return HeaderTooLarge(f"The head of a request may take {self._limits.header_bytes} bytes.")

    def on_headers_complete(self) -> None:
        """The head is whole; a body may follow."""
        now = self.loop.time()
        self._head_since, self._is_in_body = None, True
        self._head_bytes = self._body_bytes = self._framing_bytes = 0
        self._body_since, self._reading = now, Pace(self._limits, now)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._body_bytes += len(body)
        self._reading.moved(len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._is_in_body, self._has_ended, self._head_bytes = False, True, 0
        if not self._is_answering:  # answered before it was read: uvicorn has no timer for what comes next
            self._head_since = self.loop.time()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answer is whole, and another request may follow."""
        self._idle_since = self.loop.time()
        super().on_response_complete()

    # What goes out before the application is asked

    def send_400_response(self, msg: str) -> None:
        """uvicorn's answer to what is no HTTP, as a problem."""
        self._refuse(MalformedRequest(msg))

    def _refuse(self, problem: Problem) -> None:
        """Answer a request that cannot be taken, and end the connection once the client has had time to read that."""
        if self.transport.is_closing() or self._refused_at is not None:
            return
        is_unanswered = self._is_answering and not self.cycle.response_started
        if self.pipeline or (is_unanswered if self._is_in_body else self._is_answering) is not self._is_in_body:
            self.transport.abort()  # the answer would be taken for that of another request
            return
        now = self.loop.time()
        self._refused_at, self._reading = now, Pace(self._limits, now)
        if self._is_answering:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.flow.resume_reading()
        self._write(problem)
        self.transport.write_eof()

    def _write(self, problem: Problem) -> None:
        body = json.dumps(problem.document()).encode()
        headers = {
            "Content-Type": MEDIA_TYPE,
            "Content-Length": str(len(body)),
            "Connection": "close",
            "X-Request-Id": str(uuid.uuid4()),
        }
        lines = [f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)
