"""Around every request: its id, its count, its line in the log, and an answer even where the service fails."""

from __future__ import annotations

import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import Problem
from ..observability import request_id as current_request
from .metrics import HttpMetrics
from .problems import answer

logger = logging.getLogger(__name__)
access = logging.getLogger("lipserve.access")

REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
UNROUTED = "(none)"
QUIET = frozenset({"/livez", "/readyz", "/v2/health/live", "/v2/health/ready", "/metrics"})
"""Routes that machines ask every few seconds: not worth a line."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})


class Envelope:
    """Gives each request an id, counts and logs it, and turns an unexpected exception into a problem."""

    def __init__(self, app: ASGIApp, metrics: HttpMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        current_request.set(request_id)
        scope["state"] = dict(scope.get("state", {}))
        start, status = time.perf_counter(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            logger.info("request %s: the client went away", request_id)
        except Exception:
            logger.exception("request %s failed", request_id)
            self._metrics.problem(Problem.slug)
            if status == 0:
                await answer(Problem(), scope["path"])(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - start
            self._metrics.count(_method(scope), _route(scope), status, seconds)
            _log(scope, status, seconds)


def _request_id(scope: Scope) -> str:
    sent = Headers(scope=scope).get("x-request-id", "")
    return sent if REQUEST_ID.fullmatch(sent) else str(uuid.uuid4())


def _route(scope: Scope) -> str:
    """The path's template, never the path: labels must stay few."""
    return str(getattr(scope.get("route"), "path", UNROUTED))


def _log(scope: Scope, status: int, seconds: float) -> None:
    """One line a request: neither headers nor query, which may hold what nobody else should read."""
    known = {
        "method": _method(scope),
        "route": _route(scope),
        "status": status,
        "ms": round(1000 * seconds, 1),
        "tenant": scope["state"].get("tenant"),
        "job": scope["state"].get("job") or scope.get("path_params", {}).get("job_id"),
    }
    shown = {name: value for name, value in known.items() if value is not None}
    level = logging.DEBUG if known["route"] in QUIET else logging.INFO
    access.log(level, "%s", " ".join(f"{name}={value}" for name, value in shown.items()), extra=shown)


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in METHODS else "other"
