"""Files and JSON through the guard: capped in bytes and seconds, redirects only where a hub needs them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import httpx

from ..contract.plain import Json
from .guard import Guard, Refused, Unreachable
from .guard_network import guarded_client

CHUNK = 2**20
MAX_JSON_BYTES = 8 * 2**20
Write = Callable[[bytes], None]


@dataclass(frozen=True)
class Credentials:
    """Headers that only the server at `home` may see: what it refers to elsewhere is asked for without them."""

    home: str
    headers: dict[str, str]

    def of(self, url: httpx.URL) -> dict[str, str]:
        """The headers for a URL: none for another scheme, host or port."""
        return self.headers if _origin(url) == _origin(httpx.URL(self.home)) else {}


@dataclass(frozen=True)
class Fetcher:
    """GETs and POSTs below one time limit each. `hops`: how many redirects one GET may follow, each guarded."""

    guard: Guard
    limit_s: float
    credentials: Credentials | None = None
    hops: int = 0

    def json(self, url: str, params: dict[str, str] | None = None) -> Any:
        """The JSON behind a URL; Refused or Unreachable."""
        return self.json_with_headers(url, params)[0]

    def json_with_headers(self, url: str, params: dict[str, str] | None = None) -> tuple[Any, httpx.Headers]:
        """The JSON behind a URL and the answer's headers."""
        with self._answered(url, params) as response:
            body = b"".join(_capped(response, MAX_JSON_BYTES))
            return _parsed(url, body), response.headers

    def bytes(self, url: str, max_bytes: int, params: dict[str, str] | None = None) -> bytes:
        with self._answered(url, params) as response:
            return b"".join(_capped(response, max_bytes))

    def stream(self, url: str, write: Write, params: dict[str, str] | None = None) -> None:
        """Hand a file to `write`, which caps it, chunk by chunk."""
        with self._answered(url, params) as response:
            for chunk in response.iter_raw(CHUNK):
                write(chunk)

    def exists(self, url: str, params: dict[str, str]) -> bool:
        """Whether the URL is answered with success; the body is left unread."""
        self.guard.check_url(url)
        with (
            guarded_client(self.guard, self.limit_s) as client,
            client.stream("GET", url, params=params, headers=self._secrets(url)) as response,
        ):
            return response.status_code == httpx.codes.OK

    def post(self, url: str, document: Json) -> Any:
        """Send JSON, and the JSON of the answer."""
        self.guard.check_url(url)
        with (
            guarded_client(self.guard, self.limit_s) as client,
            client.stream("POST", url, json=document, headers=self._secrets(url)) as response,
        ):
            _check(response)
            return _parsed(url, b"".join(_capped(response, MAX_JSON_BYTES)))

    @contextmanager
    def _answered(self, url: str, params: dict[str, str] | None) -> Iterator[httpx.Response]:
        self.guard.check_url(url)
        asked = httpx.URL(url, params=params) if params else httpx.URL(url)
        with guarded_client(self.guard, self.limit_s) as client:
            for _ in range(self.hops + 1):
                with client.stream("GET", asked, headers=self._secrets(asked)) as response:
                    if not (response.has_redirect_location and self.hops):
                        _check(response)
                        yield response
                        return
                    target = urljoin(str(asked), response.headers["location"])
                self.guard.check_url(target)
                asked = httpx.URL(target)
        raise Unreachable(f"The host {httpx.URL(url).host} redirects more than {self.hops} times.")

    def _secrets(self, url: httpx.URL | str) -> dict[str, str]:
        return self.credentials.of(httpx.URL(url)) if self.credentials is not None else {}


def _check(response: httpx.Response) -> None:
    """Refuse what is no plain success."""
    host = response.request.url.host
    if response.is_redirect:
        raise Refused(f"The host {host} answers with a redirect, and redirects are not followed.")
    if response.status_code != httpx.codes.OK:
        raise Unreachable(f"The host {host} answers with status {response.status_code}.")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise Unreachable(f"The host {host} sends a content encoding that was not asked for.")


def _capped(response: httpx.Response, max_bytes: int) -> Iterator[bytes]:
    size = 0
    for chunk in response.iter_raw(CHUNK):
        size += len(chunk)
        if size > max_bytes:
            raise Unreachable(f"The host {response.request.url.host} sends more than {max_bytes} bytes.")
        yield chunk


def _parsed(url: str, body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Unreachable(f"The host {httpx.URL(url).host} answers with something that is not JSON.") from error


def _origin(url: httpx.URL) -> tuple[str, bytes]:
    return url.scheme, url.netloc
