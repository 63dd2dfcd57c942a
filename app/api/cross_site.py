"""Keeps web pages of others out: a browser on this machine reaches the service too, whoever wrote the page it shows.

Two ways in are closed. A page whose own name is made to lead here (DNS rebinding) is of the same origin as the
service, and could read everything: it is told by the header `Host`, which matters as long as no key is needed. A page
of any other origin cannot read answers, as no header allows it, but could have a browser send requests: they are told
by `Sec-Fetch-Site`, which no script can set, or by `Origin` where a browser is too old for it, or the connection is
not encrypted. Programs send neither, and a key in a header is something that no other page can add.
"""

from __future__ import annotations

from anyio import to_thread
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import CrossSite, DatabaseUnavailable, ForeignHost, MalformedRequest, Problem
from ..store.database import OUTAGES
from .hosts import Hosts
from .metrics import HttpMetrics
from .problems import OUTAGE_RETRY_S, answer

READING = ("GET", "HEAD")
OURS = ("same-origin", "none")
SHOWN = ("document", "image")
"""What other pages may do with our answers: lead to them, and show a picture."""


class CrossSiteProtection:
    """Refuses requests under names that are not the service's, and those that pages of other origins caused."""

    def __init__(self, app: ASGIApp, hosts: Hosts, metrics: HttpMetrics) -> None:
        self._app = app
        self._hosts = hosts
        self._metrics = metrics
        self._has_keys = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                await self._check(scope, Headers(scope=scope))
            except Problem as problem:
                self._metrics.problem(problem.slug)
                await answer(problem, scope["path"])(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _check(self, scope: Scope, headers: Headers) -> None:
        host = _host(scope, headers)
        if host is not None and not self._hosts.hold(host, scope.get("server")) and not await self._needs_keys(scope):
            raise ForeignHost(
                f"Without API keys this service answers as localhost only, not as {host[:80]!r}. Call it by that name, "
                "name the host in LIPSERVE_ALLOWED_HOSTS, or create a key (lipserve keys create)."
            )
        if self._is_foreign(scope, headers, host) and not (_has_key(headers) and await self._needs_keys(scope)):
            raise CrossSite(
                "A page of another origin caused this request. Where the page is the service's own behind a proxy, "
                "name its host in LIPSERVE_ALLOWED_HOSTS or LIPSERVE_PUBLIC_URL; programs send no header Origin."
            )

    def _is_foreign(self, scope: Scope, headers: Headers, host: str | None) -> bool:
        """Whether a page of another origin sent it, as far as the browser tells, to do more than to show it."""
        site = headers.get("sec-fetch-site")
        if scope["method"] in READING:
            return site not in (None, *OURS) and headers.get("sec-fetch-dest", SHOWN[0]) not in SHOWN
        if site is not None:
            return site not in OURS
        origin = headers.get("origin")
        return origin is not None and not self._hosts.own(origin, host or "")

    async def _needs_keys(self, scope: Scope) -> bool:
        """Whether a key was ever created, which stays so."""
        if not self._has_keys:
            try:
                self._has_keys = await to_thread.run_sync(scope["app"].state.services.keys.are_configured)
            except OUTAGES as error:
                raise DatabaseUnavailable(headers={"Retry-After": str(OUTAGE_RETRY_S)}) from error
        return self._has_keys


def _host(scope: Scope, headers: Headers) -> str | None:
    """The name that the request is for. Only HTTP/1.0, which no browser speaks, may leave it out."""
    hosts = headers.getlist("host")
    if len(hosts) > 1 or (not hosts and scope["http_version"] != "1.0"):
        raise MalformedRequest("A request needs one header Host.")
    return hosts[0] if hosts else None


def _has_key(headers: Headers) -> bool:
    """Whether the request brings a key that counts before any cookie."""
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    return bool(headers.get("x-api-key")) or (scheme.lower() == "bearer" and bool(secret.strip()))
