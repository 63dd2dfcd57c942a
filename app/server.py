"""The HTTP server of `lipserve serve`: a first signal lets it drain, a second one stops it at once."""

from __future__ import annotations

import asyncio
import signal
from functools import partial
from types import FrameType
from typing import cast

import uvicorn
from fastapi import FastAPI

from .drain import Drain
from .server_connections import Connections, Limits
from .server_protocol import LimitedProtocol
from .settings import Settings

TICKS = 10
LAST_S = 1
"""Time that requests have which are still open after the drain, in seconds."""


class DrainingServer(uvicorn.Server):
    """Goes on answering after a signal until no request is open, at most for the time that those have."""

    def __init__(self, service: FastAPI, settings: Settings) -> None:
        limits = Limits.of(settings)
        self._crowd = Connections(limits)
        config = uvicorn.Config(
            service,
            host=settings.host,
            port=settings.port,
            http=cast(type[asyncio.Protocol], partial(LimitedProtocol, limits, self._crowd)),
            ws="none",
            timeout_graceful_shutdown=LAST_S,
            log_config=None,
            access_log=False,
        )
        super().__init__(config)
        self._drain: Drain = service.state.drain
        self._least_s = settings.drain_s
        self._most_s = settings.drain_s + settings.shutdown_s

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 (signal's own signature)
        """On a signal. It is not raised again at the end, so that the exit status of a graceful end is 0."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = self._drain.is_on
        self._drain.begin()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether it is time to stop. Slow clients are looked for once a second."""
        if counter % TICKS == 0:
            self._crowd.sweep(asyncio.get_running_loop().time())
        is_time = await super().on_tick(counter)
        if not self._drain.is_on:
            return is_time
        self._drain.ring()
        is_quiet = not self.server_state.tasks
        return is_time or self._drain.age_s >= (self._least_s if is_quiet else self._most_s)
