"""httpx through the guard: connections to checked addresses only, and no waiting beyond a deadline."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import Any

import httpcore
import httpx

from .guard import Guard, Refused, Unreachable
from .guard_addresses import Address, plain

HEADERS = {"Accept-Encoding": "identity", "User-Agent": "lipserve"}


def guarded_client(guard: Guard, limit_s: float) -> httpx.Client:
    """A client whose exchanges must be over in `limit_s` seconds from now; no redirects, no proxies."""
    transport = GuardedTransport(guard, time.monotonic() + limit_s)
    return httpx.Client(transport=transport, trust_env=False, timeout=limit_s, headers=HEADERS)


class GuardedTransport(httpx.BaseTransport):
    """httpx on httpcore, with connections that the guard makes."""

    def __init__(self, guard: Guard, deadline: float) -> None:
        context = guard.tls or httpx.create_ssl_context()
        self._pool = httpcore.ConnectionPool(context, network_backend=_Network(guard, deadline))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """One exchange; Refused or Unreachable instead of httpx's errors."""
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        assert isinstance(request.stream, httpx.SyncByteStream)
        asked = httpcore.Request(
            request.method, url, headers=request.headers.raw, content=request.stream, extensions=request.extensions
        )
        with _translated(request.url.host):
            answer = self._pool.handle_request(asked)
        assert isinstance(answer.stream, Iterable)
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(answer.stream, request.url.host),
            extensions=answer.extensions,
        )

    def close(self) -> None:
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: Any, host: str) -> None:
        self._stream = stream
        self._host = host

    def __iter__(self) -> Iterator[bytes]:
        with _translated(self._host):
            yield from self._stream

    def close(self) -> None:
        self._stream.close()


class _translated:
    """Turns what the network layer raises into Unreachable."""

    def __init__(self, host: str) -> None:
        self._host = host

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> None:
        if isinstance(error, (httpcore.TimeoutException, TimeoutError)):
            raise Unreachable(f"The host {self._host} did not answer in time.") from error
        if isinstance(error, (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol, OSError)):
            raise Unreachable(f"The exchange with {self._host} failed: {_reason(error)}.") from error


class _Network(httpcore.NetworkBackend):
    """Makes connections to checked addresses only, and ends all waiting at the deadline."""

    def __init__(self, guard: Guard, deadline: float) -> None:
        self._guard = guard
        self._inner = guard.network or httpcore.SyncBackend()
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection to the first address of the host that takes one."""
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in self._guard.addresses(host, port):
            try:
                stream = self._inner.connect_tcp(
                    str(address), port, _left(self._deadline, timeout), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
                continue
            _check_peer(stream, host, address)
            return _Stream(stream, self._deadline)
        raise failure

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        raise Refused(f"Sockets in the file system are out of bounds ({path}, {timeout}, {socket_options}).")

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class _Stream(httpcore.NetworkStream):
    """A connection on which nothing waits beyond the deadline."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: float) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(self._deadline, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(self._deadline, timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """The same connection under TLS, for the name that was asked for."""
        stream = self._inner.start_tls(ssl_context, server_hostname, _left(self._deadline, timeout))
        return _Stream(stream, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        """What the connection tells of itself."""
        return self._inner.get_extra_info(info)


def _check_peer(stream: httpcore.NetworkStream, host: str, wanted: Address) -> None:
    """Refuse a connection that ended somewhere else than where it was meant to go."""
    peer = stream.get_extra_info("server_addr")
    try:
        reached = plain(ip_address(str(peer[0]).partition("%")[0]))
    except (TypeError, ValueError) as error:
        stream.close()
        raise Refused(f"It cannot be told where the connection to {host} went.") from error
    if reached != wanted:
        stream.close()
        raise Refused(f"The connection to {host} went to {reached} instead of {wanted}.")


def _left(deadline: float, timeout: float | None) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the time is over")
    return left if timeout is None else min(left, timeout)


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
